"""A client of the harness's own, for what tidings-load has no scenario for: it subscribes to many
rooms, and counts what it gets. WebSocket and Socket.IO as far as that needs them."""

import json
import os
import socket
import struct
import threading
import time
from queue import Queue

PATIENCE_S = 120
# Longest payload whose length fits the first and the second form of a frame's head.
SHORT, MIDDLE = 125, 0xFFFF
CLOSE = 8


class Listener:
    """A connected client; what comes is read on a thread of its own."""

    def __init__(self, target: str, path: str, user: str):
        host, _, port = target.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self._answers: Queue = Queue()
        self._asked = 0
        self.events = 0
        self._upgrade(target, path)
        self._packet()
        self._send("40" + json.dumps({"userId": user}))
        while not self._packet().startswith("40"):
            pass
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def ask(self, *event: object) -> float:
        """Sends an event and waits for its acknowledgement; returns how long that took."""
        begun = time.monotonic()
        self._send(f"42{self._asked}{json.dumps(event)}")
        self._asked += 1
        answer = self._answers.get(timeout=PATIENCE_S)
        if '"ok":true' not in answer.replace(" ", ""):
            raise OSError(f"{event[0]} was answered: {answer[:500]}")
        return time.monotonic() - begun

    def close(self) -> None:
        """Goes without a word."""
        self._socket.close()

    def _upgrade(self, target: str, path: str) -> None:
        head = (
            f"GET {path}?EIO=4&transport=websocket HTTP/1.1\r\nHost: {target}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        self._socket.sendall(head.encode())
        while b"\r\n\r\n" not in self._rest:
            self._more()
        answer, _, self._rest = self._rest.partition(b"\r\n\r\n")
        if b" 101 " not in answer:
            raise OSError(f"no upgrade: {answer[:200]!r}")

    def _read(self) -> None:
        try:
            while True:
                packet = self._packet()
                if packet == "2":
                    self._send("3")
                elif packet.startswith("42"):
                    self.events += 1
                elif packet.startswith("43"):
                    self._answers.put(packet)
        except OSError:
            return

    def _packet(self) -> str:
        head = self._take(2)
        if head[0] & 0xF == CLOSE:
            raise OSError("closed by the server")
        length = head[1] & 0x7F
        if length == SHORT + 1:
            (length,) = struct.unpack(">H", self._take(2))
        elif length == SHORT + 2:
            (length,) = struct.unpack(">Q", self._take(8))
        return self._take(length).decode()

    def _send(self, text: str) -> None:
        payload = text.encode()
        mask = os.urandom(4)
        if len(payload) <= SHORT:
            head = struct.pack(">BB", 0x81, 0x80 | len(payload))
        elif len(payload) <= MIDDLE:
            head = struct.pack(">BBH", 0x81, 0x80 | SHORT + 1, len(payload))
        else:
            head = struct.pack(">BBQ", 0x81, 0x80 | SHORT + 2, len(payload))
        repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
        masked = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
        self._socket.sendall(head + mask + masked.to_bytes(len(payload), "big"))

    def _take(self, count: int) -> bytes:
        while len(self._rest) < count:
            self._more()
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def _more(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            raise OSError("closed")
        self._rest += data

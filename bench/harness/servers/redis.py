"""Redis, a yardstick: what its PUBLISH with one subscriber costs."""

import re
import shutil
import socket
import subprocess
import threading
from pathlib import Path

from .. import install, machine
from .base import Server

CHANNEL = "user:1"
# Redis' binary is in the package of its tools, under the name of one of them; the package of the
# server would start one for the whole machine.
PROGRAM = "redis-check-rdb"
BENCHMARK_TIMEOUT_S = 300


class Redis(Server):
    """A server without persistence that waits for no slow subscriber."""

    name = family = "redis"

    @classmethod
    def build(cls) -> None:
        install.debian("redis-tools", PROGRAM)

    def start(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = {
            "bind": "127.0.0.1", "port": self.port, "save": "", "appendonly": "no",
            "client-output-buffer-limit": "pubsub 0 0 0", "dir": folder,
        }  # fmt: skip
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._spawn(
            ["redis-server", *flags],
            folder,
            {},
            executable=shutil.which(PROGRAM),
            stdout=subprocess.DEVNULL,
        )
        self._wait(self._connects)
        said = subprocess.run(
            ["redis-benchmark", "--version"], capture_output=True, text=True
        ).stdout
        self.version = (re.search(r"\d+\.\d+\.\d+", said) or ["?"])[0]

    def publish(self, payload: str, count: int, flags: list[str]) -> dict:
        """So many PUBLISH commands by redis-benchmark; CPU time is that of the server."""
        subscriber = _Subscriber(self.port, len(_message(payload)) * count)
        before = machine.cpu_seconds(self.pid)
        command = ["redis-benchmark", "-p", self.port, "-n", count, *flags, "-q"]
        subprocess.run(
            [str(part) for part in (*command, "PUBLISH", CHANNEL, payload)],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=BENCHMARK_TIMEOUT_S,
        )
        received = subscriber.finish()
        cpu = machine.cpu_seconds(self.pid) - before
        return {"emits": count, "exact": received, "cpu_us_per_emit": cpu * 1e6 / count}

    def _connects(self) -> bool | None:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except ConnectionRefusedError:
            return None
        return True


class _Subscriber:
    """Reads what is published, and counts its bytes."""

    def __init__(self, port: int, expected: int):
        self._socket = socket.create_connection(("127.0.0.1", port), BENCHMARK_TIMEOUT_S)
        self._socket.sendall(f"SUBSCRIBE {CHANNEL}\r\n".encode())
        self._socket.recv(4096)
        self._left = expected
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def finish(self) -> bool:
        """Whether everything arrived."""
        self._thread.join()
        self._socket.close()
        return self._left == 0

    def _read(self) -> None:
        while self._left > 0 and (data := self._socket.recv(1 << 20)):
            self._left -= len(data)


def _message(payload: str) -> str:
    """What a subscriber gets of one PUBLISH."""
    parts = "".join(f"${len(part)}\r\n{part}\r\n" for part in ("message", CHANNEL, payload))
    return f"*3\r\n{parts}"

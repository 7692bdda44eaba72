"""The servers under test: how each is built, started and stopped.

A server serves for the length of a `with` block, as a fresh process, so that no run inherits
another one's memory. To add one, subclass Server and list it in SERVERS.
"""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from .paths import BENCH, ROOT, TARGET

START_S = 20
STOP_S = 15


class StartError(Exception):
    """A server did not come up."""


class Server:
    """What tidings-load must know of a running server."""

    name: str
    path = "/socket.io/"
    emit_headers: tuple[str, ...] = ()
    # Known once it serves.
    version = "?"
    target: str
    emit_url: str

    @classmethod
    def build(cls) -> None:
        """Installs or compiles what the server needs."""
        raise NotImplementedError

    def start(self, folder: Path) -> None:
        """Starts the process, waits until it serves, and sets the attributes above."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        return self.process.pid

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="tidings-bench-")
        self.process = None
        try:
            self.start(Path(self._folder.name))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._folder.cleanup()

    def _spawn(self, command: list, folder: Path, **options) -> None:
        self._log = folder / "stderr"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], stderr=log, **options
            )

    def _wait(self, ready):
        """What `ready` returns as soon as it is not None."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if (found := ready()) is not None:
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise self._failure()

    def _said(self) -> dict:
        """The line of JSON that the process prints once it serves."""
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(STOP_S)
            raise self._failure()
        return json.loads(line)

    def _failure(self) -> StartError:
        ended = self.process.poll()
        how = "is silent" if ended is None else f"ended with {ended}"
        return StartError(f"{self.name} {how}: {self._log.read_text()[-2000:] or 'no message'}")


class SocketIo(Server):
    """Socket.IO on Node."""

    name = "socket.io"
    home = BENCH / "peers" / "socketio"

    @classmethod
    def build(cls) -> None:
        subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=cls.home, check=True
        )

    def start(self, folder: Path) -> None:
        self._spawn(
            ["node", self.home / "server.mjs"], folder, stdout=subprocess.PIPE, text=True
        )
        said = self._said()
        node = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout
        self.version = f"{said['version']} on Node {node.strip()}"
        self.target = f"127.0.0.1:{said['port']}"
        self.emit_url = f"http://{self.target}/emit"


class Floor(Server):
    """A bare loop that writes one ready frame to every socket: the kernel's price for the sends."""

    name = "floor"

    @classmethod
    def build(cls) -> None:
        """Built with tidings-load, whose package it is in."""

    def start(self, folder: Path) -> None:
        self._spawn([TARGET / "tidings-floor"], folder, stdout=subprocess.PIPE, text=True)
        self.target = f"127.0.0.1:{self._said()['port']}"
        self.emit_url = f"http://{self.target}/emit"
        self.version = _commit()


class Tidings(Server):
    """The daemon of this tree, in its release build."""

    name = "tidings"
    key = "only-for-measuring"
    emit_headers = (f"Authorization: Bearer {key}",)
    # One live room that anybody may enter; limits would refuse this many from one address.
    config = '[channels.bench]\nrooms = ["bench"]\nclass = "live"\n'
    environment = {
        "TIDINGS_API_KEY": key,
        "TIDINGS_AUTH__MODE": "none",
        "TIDINGS_LISTEN__PUBLIC": "127.0.0.1:0",
        "TIDINGS_LISTEN__PRIVATE": "127.0.0.1:0",
        "TIDINGS_LIMITS__CONNECTIONS_PER_MINUTE_PER_IP": "0",
        "TIDINGS_LIMITS__EVENTS_PER_MINUTE_PER_USER": "0",
    }

    @classmethod
    def build(cls) -> None:
        subprocess.run(["cargo", "build", "--release", "-p", "tidings"], cwd=ROOT, check=True)

    def start(self, folder: Path) -> None:
        data = folder / "data"
        config = folder / "tidings.toml"
        config.write_text(self.config)
        environment = {
            **{name: value for name, value in os.environ.items() if not _is_setting(name)},
            **self.environment,
            "TIDINGS_NODE__DATA_DIR": str(data),
        }
        self._spawn(
            [TARGET / "tidings", "serve", "--config", config],
            folder,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        listening = self._wait(lambda: _json(data / "listening.json"))
        self.version = _commit()
        self.target = listening["public"]
        self.emit_url = f"http://{listening['private']}/api/v1/emit"


SERVERS = {server.name: server for server in (Tidings, SocketIo, Floor)}


def _is_setting(name: str) -> bool:
    """Whether a variable of the machine's would change what is measured."""
    return name.startswith("TIDINGS_") or name in ("PORT", "SESSION_SECRET")


def _json(path: Path):
    """The file's content, or None while it is not there or not whole."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _commit() -> str:
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    return said.stdout.strip() or "unknown commit"

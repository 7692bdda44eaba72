"""What all servers have in common: a fresh process for the length of a `with` block."""

import json
import os
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

from .. import machine
from ..paths import ROOT
from ..supplies import Setup, Supplies

START_S = 20
STOP_S = 15
# Variables of the machine's that would change what is measured.
FOREIGN = (
    "PORT", "SESSION_SECRET", "SESSIONS_FILE", "TLS_CERT", "TLS_KEY", "DATABASE_URL", "MONGODB_URL",
)  # fmt: skip


class StartError(Exception):
    """A server did not come up."""


class Server:
    """What tidings-load must know of a running server."""

    name: str
    # What `--only` knows it by: variants of one server share it.
    family: str
    # What Socket.IO clients are told to use.
    path = "/socket.io/"
    emit_headers: tuple[str, ...] = ()
    # How an emit addresses the user of client number {user}.
    to_user = '"room":"user:user-{user}"'
    # Whether it may leave out quotes that are not the newest.
    conflates = False
    # Known once it serves.
    version = "?"
    target: str
    emit_url: str
    # Where a list of emits goes; the peers take it at the same place.
    batch_url: str
    # Where emits go line by line, if it can do that.
    stream_url: str | None = None

    def __init__(self, setup: Setup, supplies: Supplies):
        self.setup = setup
        self.supplies = supplies
        self.process: subprocess.Popen | None = None

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

    @property
    def beside(self) -> list[int]:
        """Further processes whose work is the server's."""
        return []

    def memory_kib(self) -> dict[str, int]:
        """What is resident now, and the most that ever was."""
        fields = {"resident": "VmRSS", "peak": "VmHWM"}
        return {name: machine.memory_kib(self.pid, field) for name, field in fields.items()}

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="tidings-bench-")
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
            if self.process.stdout:
                self.process.stdout.close()
        self._folder.cleanup()

    def _spawn(self, command: list, folder: Path, environment: dict, **options) -> None:
        self._log = folder / "stderr"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stderr=log,
                env={**_own_environment(), **environment},
                **options,
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

    def _failure(self) -> StartError:
        ended = self.process.poll()
        how = "is silent" if ended is None else f"ended with {ended}"
        return StartError(f"{self.name} {how}: {self._log.read_text()[-2000:] or 'no message'}")


class Peer(Server):
    """A server that prints `{"port", "version"}`, and perhaps `emitPort`, once it serves."""

    def command(self) -> list:
        """What starts it."""
        raise NotImplementedError

    def start(self, folder: Path) -> None:
        self._spawn(self.command(), folder, self._environment(), stdout=subprocess.PIPE, text=True)
        said = self._said()
        self.version = self.say_version(said["version"])
        self.target = f"127.0.0.1:{said['port']}"
        self.emit_url = f"http://127.0.0.1:{said.get('emitPort', said['port'])}/emit"
        self.batch_url = self.emit_url

    def say_version(self, version: str) -> str:
        """What the report says was measured."""
        return version

    def _environment(self) -> dict[str, str]:
        """How the peers are told what a scenario asks for."""
        asked = {}
        if self.setup.sessions:
            asked["SESSIONS_FILE"] = str(self.supplies.sessions(self.setup.sessions))
        if self.setup.tls:
            certificates = self.supplies.certificates()
            asked["TLS_CERT"] = str(certificates.chain)
            asked["TLS_KEY"] = str(certificates.key)
        return asked

    def _said(self) -> dict:
        """The line of JSON that the process prints once it serves."""
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(STOP_S)
            raise self._failure()
        return json.loads(line)


@cache
def commit() -> str:
    """The state of this tree when it was first asked for: later ones were not built."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    return said.stdout.strip() or "unknown commit"


def _own_environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TIDINGS_") and name not in FOREIGN
    }

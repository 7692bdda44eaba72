"""Servers that find their sessions in MongoDB, where Express's connect-mongo would have put them."""

import http.client
import json
import socket
import subprocess
import time
from pathlib import Path

from .. import install
from .base import STOP_S, StartError
from .peers import SocketIo
from .tidings import KEY, Tidings

DATABASE = "bench"
HELPER = SocketIo.home / "mongo.mjs"
START_S = 30


class Mongo:
    """A replica set of one server, with the sessions in it; serves until it is stopped."""

    def __init__(self, folder: Path, sessions: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        data = folder / "mongod"
        data.mkdir()
        self.uri = f"mongodb://127.0.0.1:{port}/{DATABASE}?replicaSet=rs0"
        self._log = data / "log"
        command = [
            install.mongod(), "--dbpath", data, "--port", port, "--bind_ip", "127.0.0.1",
            "--nounixsocket", "--replSet", "rs0", "--oplogSize", "64",
            "--wiredTigerCacheSizeGB", "0.25",
            "--setParameter", "diagnosticDataCollectionEnabled=false",
        ]  # fmt: skip
        with self._log.open("w") as log:
            self.process = subprocess.Popen([str(part) for part in command], stdout=log)
        self._wait_until_it_listens()
        self._helper("prepare", f"127.0.0.1:{port}", sessions)

    def queries(self) -> int:
        """How many it has answered since its start."""
        return int(self._helper("queries"))

    def stop(self) -> None:
        """Ends it."""
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + START_S
        while "Waiting for connections" not in self._log.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise StartError(f"mongod does not serve: {self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def _helper(self, *arguments: object) -> str:
        command = ["node", HELPER, self.uri, *arguments]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode != 0:
            raise StartError(f"mongo.mjs: {done.stderr.strip()}")
        return done.stdout


class _Shared:
    """What both have in common: a MongoDB beside them, whose work counts as theirs."""

    mongo: Mongo | None = None

    def start(self, folder: Path) -> None:
        self.mongo = Mongo(folder, self.supplies.sessions(self.setup.sessions))
        self.serve(folder)

    def serve(self, folder: Path) -> None:
        """Starts the server itself."""
        raise NotImplementedError

    @property
    def beside(self) -> list[int]:
        return [self.mongo.process.pid]

    def __exit__(self, *_):
        if self.mongo is not None:
            self.mongo.stop()
        super().__exit__()


class SharedTidings(_Shared, Tidings):
    """Tidings; a fresh one has no session in its store."""

    name = "tidings, sessions in MongoDB"

    @classmethod
    def build(cls) -> None:
        Tidings.build()
        SocketIo.build()
        install.mongod()

    def serve(self, folder: Path) -> None:
        data = folder / "data"
        data.mkdir()
        self.launch(folder, data)
        self._wait(self._is_told_of_changes)

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), "TIDINGS_MONGODB__URI": self.mongo.uri}

    def _is_told_of_changes(self) -> bool | None:
        connection = http.client.HTTPConnection(self.private, timeout=30)
        headers = {"Authorization": f"Bearer {KEY}"}
        connection.request("GET", "/api/health/detailed", headers=headers)
        said = json.loads(connection.getresponse().read())
        connection.close()
        return True if said["mongodb"]["logout"]["by"] == "changeStream" else None


class SharedSocketIo(_Shared, SocketIo):
    """Socket.IO, which asks connect-mongo's store for the session of each client."""

    name = "socket.io, sessions in MongoDB"

    @classmethod
    def build(cls) -> None:
        SocketIo.build()
        install.mongod()

    def serve(self, folder: Path) -> None:
        SocketIo.start(self, folder)

    def _environment(self) -> dict[str, str]:
        return {"MONGODB_URL": self.mongo.uri}

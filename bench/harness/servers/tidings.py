"""Tidings, and its variants."""

import http.client
import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from .. import install
from ..paths import TARGET
from ..supplies import Setup, Supplies
from .base import Server, commit

KEY = "only-for-measuring"
# Connections to the API while sessions are made: each waits for the disk, so several at once.
WRITERS = 16


class Tidings(Server):
    """The daemon of this tree, in its release build, its limits off."""

    name = family = "tidings"
    emit_headers = (f"Authorization: Bearer {KEY}",)
    to_user = '"user":"user-{user}"'
    shards: int | None = None
    watchlist = 'class = "live"'
    # Rooms that anybody may enter; limits would refuse this many from one address.
    config = """
[channels.bench]
rooms = ["bench"]
[channels.probe]
rooms = ["probe"]
[channels.watchlist]
rooms = ["quote:{symbol}"]
"""
    environment = {
        "TIDINGS_API_KEY": KEY,
        "TIDINGS_LISTEN__PUBLIC": "127.0.0.1:0",
        "TIDINGS_LISTEN__PRIVATE": "127.0.0.1:0",
        "TIDINGS_LIMITS__CONNECTIONS_PER_MINUTE_PER_IP": "0",
        "TIDINGS_LIMITS__EVENTS_PER_MINUTE_PER_USER": "0",
        "TIDINGS_LIMITS__SUBSCRIPTIONS_PER_USER": "0",
    }

    @classmethod
    def build(cls) -> None:
        install.cargo("tidings")

    def start(self, folder: Path) -> None:
        data = folder / "data"
        if self.setup.sessions:
            made = _store(self.supplies, self.setup.sessions)
            shutil.copytree(made, data, ignore=shutil.ignore_patterns("*.sock"))
        self.launch(folder, data)

    def launch(self, folder: Path, data: Path) -> None:
        """Starts it on a data folder, which may have something in it."""
        config = folder / "tidings.toml"
        config.write_text(self.config + self.watchlist)
        listening = data / "listening.json"
        listening.unlink(missing_ok=True)
        self._spawn(
            [TARGET / "tidings", "serve", "--config", config],
            folder,
            {**self._environment(), "TIDINGS_NODE__DATA_DIR": str(data)},
            stdout=subprocess.DEVNULL,
        )
        found = self._wait(lambda: _json(listening))
        self.version = commit()
        self.target = found["public"]
        self.emit_url = f"http://{found['private']}/api/v1/emit"
        self.batch_url = f"{self.emit_url}/batch"
        self.stream_url = f"{self.emit_url}/stream"
        self.private = found["private"]

    def _environment(self) -> dict[str, str]:
        asked = {"TIDINGS_AUTH__MODE": "session" if self.setup.sessions else "none"}
        if self.shards is not None:
            asked["TIDINGS_NODE__SHARDS"] = str(self.shards)
        if self.setup.tls:
            certificates = self.supplies.certificates()
            asked["TIDINGS_TLS__CERT"] = str(certificates.chain)
            asked["TIDINGS_TLS__KEY"] = str(certificates.key)
        return {**self.environment, **asked}


class ConflatedTidings(Tidings):
    """Symbols keep only their newest quote, and send it four times a second."""

    name = "tidings, conflated"
    watchlist = 'class = "conflated"\ninterval = "250ms"'
    conflates = True


class CalmTidings(ConflatedTidings):
    """The same once a second."""

    name = "tidings, conflated to 1 s"
    watchlist = 'class = "conflated"\ninterval = "1s"'


class OneShard(Tidings):
    """All connections on one thread."""

    name = "tidings, 1 shard"
    shards = 1


class TwoShards(Tidings):
    """Connections on two threads."""

    name = "tidings, 2 shards"
    shards = 2


class _Storekeeper(Tidings):
    """Leaves its data where other servers can copy it."""

    def start(self, folder: Path) -> None:
        self.data = self.supplies.folder / f"tidings-{self.setup.sessions}"
        self.launch(folder, self.data)


@cache
def _store(supplies: Supplies, count: int) -> Path:
    """A data folder in which the sessions are; every run gets a copy, so that none waits for the
    API to make them."""
    lines = supplies.sessions(count).read_text().splitlines()
    with (
        _Storekeeper(Setup(sessions=count), supplies) as server,
        ThreadPoolExecutor(WRITERS) as pool,
    ):
        shares = (lines[first::WRITERS] for first in range(WRITERS))
        list(pool.map(lambda share: _post(server.private, share), shares))
    return server.data


def _post(private: str, lines: list[str]) -> None:
    """Makes a session of each line."""
    connection = http.client.HTTPConnection(private)
    for line in lines:
        connection.request("POST", "/api/v1/sessions", line, {"Authorization": f"Bearer {KEY}"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 201:
            raise OSError(f"tidings made no session: {answer.status} {body!r}")
    connection.close()


def _json(path: Path):
    """The file's content, or None while it is not there or not whole."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None

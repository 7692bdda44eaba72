"""The servers that Tidings is measured beside, and the floor below all of them."""

import subprocess

from .. import install
from ..paths import BENCH, PEER_BUILD, TARGET
from .base import Peer, commit

PEERS = BENCH / "peers"


class SocketIo(Peer):
    """Socket.IO on Node."""

    name = family = "socket.io"
    home = PEERS / "socketio"

    @classmethod
    def build(cls) -> None:
        install.npm(cls.home)

    def command(self) -> list:
        return ["node", self.home / "server.mjs"]

    def say_version(self, version: str) -> str:
        node = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout
        return f"{version} on Node {node.strip()}"


class Socketioxide(Peer):
    """Socket.IO in Rust, on hyper and tokio; it authenticates nobody."""

    name = family = "socketioxide"
    home = PEERS / "socketioxide"

    @classmethod
    def build(cls) -> None:
        install.cargo_peer(cls.home)

    def command(self) -> list:
        return [PEER_BUILD / "release" / "socketioxide-peer"]


class Bun(Peer):
    """Bun's pub/sub, which is uWebSockets: plain frames, no Socket.IO."""

    name = family = "bun"
    home = PEERS / "bun"

    @classmethod
    def build(cls) -> None:
        install.npm(cls.home)

    def command(self) -> list:
        program = self.home / "node_modules" / "@oven" / "bun-linux-x64" / "bin" / "bun"
        return [program, self.home / "server.js"]


class Floor(Peer):
    """A bare loop that writes one ready frame to every socket: the kernel's price for the sends."""

    name = family = "floor"
    arguments: tuple[str, ...] = ()

    @classmethod
    def build(cls) -> None:
        """Built with tidings-load, whose package it is in."""

    def command(self) -> list:
        return [TARGET / "tidings-floor", *self.arguments]

    def say_version(self, version: str) -> str:
        return commit()


class JoinedFloor(Floor):
    """The same loop with a write for 16 frames: what a server pays that joins as many."""

    name = "floor, 16 joined"
    arguments = ("--join", "16")

"""The servers under test: how each is built, started and stopped.

A server serves for the length of a `with` block, as a fresh process, so that no run inherits
another one's memory. To add one, subclass Server or Peer and list it in SERVERS.

base     what all have in common
tidings  Tidings and its variants
peers    Socket.IO, socketioxide, Bun, the floor
redis    a yardstick
cluster  several servers that serve as one
mongo    those that find their sessions in MongoDB
"""

from .base import Server, StartError
from .cluster import (
    Several,
    SocketIoPair,
    SocketIoStreams,
    TidingsFive,
    TidingsKeeping,
    TidingsKeepingTrio,
    TidingsPair,
    TidingsTen,
    TidingsTrio,
)
from .mongo import SharedSocketIo, SharedTidings
from .peers import Bun, Floor, JoinedFloor, SocketIo, Socketioxide
from .redis import Redis
from .tidings import CalmTidings, ConflatedTidings, OneShard, Tidings, TwoShards

SERVERS = (
    Tidings, ConflatedTidings, CalmTidings, OneShard, TwoShards,
    SocketIo, Socketioxide, Bun, Floor, JoinedFloor, Redis,
    TidingsPair, TidingsTrio, TidingsFive, TidingsTen, SocketIoPair,
    TidingsKeeping, TidingsKeepingTrio, SocketIoStreams, SharedTidings, SharedSocketIo,
)  # fmt: skip
FAMILIES = tuple(dict.fromkeys(server.family for server in SERVERS))

__all__ = [
    "FAMILIES", "SERVERS", "Server", "StartError", "Tidings", "ConflatedTidings", "CalmTidings",
    "OneShard", "TwoShards", "SocketIo", "Socketioxide", "Bun", "Floor", "JoinedFloor", "Redis",
    "Several", "TidingsPair", "TidingsTrio", "TidingsFive", "TidingsTen", "SocketIoPair",
    "TidingsKeeping", "TidingsKeepingTrio", "SocketIoStreams", "SharedTidings", "SharedSocketIo",
]  # fmt: skip

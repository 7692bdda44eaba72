"""What `bench/run NAME` measures; a module each."""

from collections.abc import Callable
from dataclasses import dataclass

from ..session import Session
from . import (
    bars,
    cluster,
    connect,
    fanout,
    generator,
    growth,
    idle,
    kept,
    latency,
    polling,
    quotes,
    shared,
    users,
)


@dataclass(frozen=True)
class Suite:
    """What it is for, and what it does."""

    about: str
    measure: Callable[[Session], None]


SUITES = {
    "bars": Suite("every promise; exit code 1 if one is missed", bars.suite),
    "fanout": Suite("one room, by clients and pace", fanout.suite),
    "quotes": Suite("many rooms, with conflation and without", quotes.suite),
    "users": Suite("emits to single users through the API", users.suite),
    "connect": Suite("authenticated connects, in turn and all at once", connect.suite),
    "shared": Suite("connects with sessions that Express keeps in MongoDB", shared.suite),
    "idle": Suite("memory of silent connections", idle.suite),
    "polling": Suite("long-polling clients", polling.suite),
    "latency": Suite("latency by load", latency.suite),
    "growth": Suite("cost as clients, rooms, subscriptions and shards grow", growth.suite),
    "cluster": Suite("several nodes beside Socket.IO with Redis; more nodes, rooms", cluster.suite),
    "kept": Suite("events kept across nodes, beside Socket.IO with Redis streams", kept.suite),
    "check-generator": Suite("whether the load generator is the limit", generator.suite),
}

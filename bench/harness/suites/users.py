"""Emits to single users through the HTTP API, one by one, in batches, in a stream."""

from ..figures import at
from ..model import Bar, Entry, Figure, Scenario, entry
from ..runners import publish, users
from ..servers import Bun, Floor, Redis, SocketIo, Socketioxide, Tidings
from ..session import Session

CLIENTS = 1000
# redis-benchmark with 100 commands on the way on each of 20 connections, and with one.
PUBLISHES = 1_000_000
PIPELINED = ["-c", "20", "-P", "100"]
PLAIN = ["-c", "20"]

CPU_PER_EMIT = Figure("CPU µs per emit", at("cpu_us_per_emit"), drawn=True)
PER_CORE = Figure("emits per core and second", lambda report: 1e6 / report["cpu_us_per_emit"], 0)
FIGURES = (
    CPU_PER_EMIT,
    PER_CORE,
    Figure("emits/s", at("emits_per_second"), 0),
    Figure("server cores", at("server_cores")),
    Figure("load cores", at("load_cores")),
)
STREAM = "tidings, stream"
# 100,000 emits for a second of the server's CPU time.
STREAM_BAR = Bar("CPU µs per emit of the stream API", CPU_PER_EMIT, 10.0, entry=STREAM)


def suite(session: Session) -> None:
    """As fast as each way goes, then Redis beside."""
    session.measure(scenario(session.seconds, ALL))
    session.measure(yardstick())


def scenario(seconds: float, entries: tuple[Entry, ...]) -> Scenario:
    """Each emit goes to one of the users."""
    return Scenario(
        f"emits to {CLIENTS:,} single users, as fast as they are taken",
        users,
        entries,
        FIGURES,
        (STREAM_BAR,),
        {"clients": CLIENTS, "rate": 0, "seconds": seconds},
        without={server.name: "it knows no users" for server in (Bun, Floor)},
    )


def yardstick() -> Scenario:
    """What a Redis adapter would pay before any client has got anything."""
    return Scenario(
        "Redis: PUBLISH with one subscriber",
        publish,
        (
            entry(Redis, "redis, 100 on the way", flags=PIPELINED),
            entry(Redis, "redis, one by one", flags=PLAIN),
        ),
        (CPU_PER_EMIT, PER_CORE),
        options={"count": PUBLISHES},
    )


STREAMED = (entry(Tidings, STREAM, mode="stream"),)
ALL = (
    *STREAMED,
    entry(Tidings, "tidings, batches of 100", mode="batch"),
    entry(Tidings, "tidings, one by one", mode="post"),
    entry(Socketioxide, "socketioxide, batches of 100", mode="batch"),
    entry(Socketioxide, "socketioxide, one by one", mode="post"),
    entry(SocketIo, "socket.io, batches of 100", mode="batch"),
    entry(SocketIo, "socket.io, one by one", mode="post"),
)

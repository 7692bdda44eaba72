"""Clients that prove who they are, join, and subscribe: at a measured pace, and all at once."""

from ..figures import PEAK_MIB, at, quantile
from ..model import Bar, Figure, Scenario, entries
from ..runners import connect
from ..servers import Bun, Floor, SocketIo, Socketioxide, Tidings
from ..session import Session
from ..supplies import Setup

CLIENTS = 10_000
CONCURRENCY = 64
# Everybody waits for everybody else's SYN: above the generator's own default.
AVALANCHE_TIMEOUT_S = 120
WITHOUT = {server.name: "it knows no sessions" for server in (Bun, Floor)}

CPU = Figure("CPU µs per connect", at("cpu_us_per_client"), 0, drawn=True)
TIME = Figure("seconds until all are in", at("seconds"), drawn=True)
REFUSED = Figure("refused", at("refused"), 0)
FIGURES = (
    Figure("connects/s", lambda report: report["clients"] / report["seconds"], 0),
    REFUSED,
    quantile("ready_us", "p50", "p50 ms"),
    quantile("ready_us", "p99", "p99 ms"),
    Figure("server cores", at("server_cores")),
    Figure("load cores", at("load_cores")),
    PEAK_MIB,
)
PACED_BARS = (
    Bar("CPU per authenticated connect, of Socket.IO's", CPU, 1 / 6, SocketIo.name),
    Bar("CPU per authenticated connect, of socketioxide's", CPU, 1.0, Socketioxide.name),
)
AVALANCHE_BARS = (
    Bar("avalanche: time, of Socket.IO's", TIME, 1 / 4, SocketIo.name),
    Bar("avalanche: clients refused", REFUSED, 0.0),
)


def suite(session: Session) -> None:
    """First in turn, then all at once."""
    session.measure(in_turn())
    session.measure(avalanche())


def in_turn() -> Scenario:
    """So few at once that none waits."""
    return Scenario(
        f"{CLIENTS:,} clients connect and subscribe, {CONCURRENCY} at a time",
        connect,
        entries(Tidings, Socketioxide, SocketIo),
        (CPU, TIME, *FIGURES),
        PACED_BARS,
        {"clients": CLIENTS, "concurrency": CONCURRENCY},
        Setup(sessions=CLIENTS),
        WITHOUT,
    )


def avalanche() -> Scenario:
    """As after a restart: everybody comes back in one moment."""
    options = {
        "clients": CLIENTS, "concurrency": CLIENTS, "connect-timeout": AVALANCHE_TIMEOUT_S,
        "retry": True,
    }  # fmt: skip
    return Scenario(
        f"avalanche: {CLIENTS:,} clients connect at once",
        connect,
        entries(Tidings, Socketioxide, SocketIo),
        (TIME, CPU, *FIGURES),
        AVALANCHE_BARS,
        options,
        Setup(sessions=CLIENTS),
        WITHOUT,
    )

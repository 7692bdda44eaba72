"""Memory of connections on which nothing happens, before and after something did."""

from ..figures import at
from ..model import Bar, Figure, Report, Scenario, entries
from ..runners import idle
from ..servers import Bun, Floor, SocketIo, Socketioxide, Tidings
from ..session import Session
from ..supplies import Setup

IDLE = Figure("KiB per idle connection", at("kib_per_connection"), drawn=True)
AFTER = Figure("after a flood", at("after_flood", "kib_per_connection"), drawn=True)


def _growth(report: Report) -> float:
    return AFTER.of(report) / IDLE.of(report)


GROWTH = Figure("after ÷ before", _growth)
FIGURES = (
    IDLE,
    AFTER,
    GROWTH,
    Figure("peak", at("after_flood", "peak_kib_per_connection")),
    Figure("empty MiB", at("empty_kib", scale=1 / 1024), 1),
    Figure("CPU µs per connect", at("connect", "cpu_us_per_client"), 0),
)
# Allocators give memory back some time after the last use of it.
FLOOD_SETTLE_S = 10


def suite(session: Session) -> None:
    """By number of clients, and over TLS."""
    session.measure(scenario(10_000))
    session.measure(scenario(18_000))
    session.measure(scenario(10_000, tls=True))


def scenario(clients: int, tls: bool = False) -> Scenario:
    """Silent clients, plain or over TLS."""
    how = "over TLS" if tls else "without TLS"
    limit = 20.0 if tls else 4.0
    bars = (
        Bar(f"KiB per idle connection {how}", IDLE, limit),
        Bar(f"memory after a flood, of that before, {how}", GROWTH, 1.5),
    )
    return Scenario(
        f"{clients:,} idle WebSocket clients {how}",
        idle,
        entries(Tidings, Bun, Socketioxide, SocketIo),
        FIGURES,
        bars if clients == 10_000 else (),
        {"clients": clients, "flood-settle": FLOOD_SETTLE_S},
        Setup(tls=tls),
        without={Floor.name: "it keeps nothing but a socket"},
    )

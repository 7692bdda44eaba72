"""Memory of connections on which nothing happens, before and after something did."""

from dataclasses import replace

from ..figures import at
from ..model import Bar, Figure, Report, Scenario, entries
from ..result import FAILED, Result
from ..runners import idle
from ..servers import Bun, Floor, SocketIo, Socketioxide, Tidings
from ..session import Session
from ..supplies import Setup

IDLE = Figure("KiB per idle connection", at("kib_per_connection"), drawn=True)
AFTER = Figure("after a flood", at("after_flood", "kib_per_connection"), drawn=True)


def _growth(report: Report) -> float:
    return AFTER.of(report) / IDLE.of(report)


GROWTH = Figure("after ÷ before", _growth)
# A process may have 20,000 files here; what is beyond is told by the slope between these two.
MEASURED = (10_000, 18_000)
TOLD = (50_000, 1_000_000)
SLOPE = Figure("KiB for each connection more", at("slope_kib"), drawn=True)
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
    few, many = (session.measure(scenario(clients)) for clients in MEASURED)
    session.add(by_slope(few, many))
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


def by_slope(few: Result, many: Result) -> Result:
    """What more connections than can be measured would take, if each takes as much as those
    between the two sizes."""
    told = (Figure(f"MiB for {clients:,}", at("mib", str(clients)), 0) for clients in TOLD)
    title = f"memory by slope, from {MEASURED[0]:,} to {MEASURED[1]:,} silent clients"
    reports = {
        name: [_extrapolated(*pair) for pair in zip(few.reports[name], many.reports[name])]
        for name in few.reports
    }
    return Result(replace(many.scenario, title=title, figures=(SLOPE, *told), bars=()), reports)


def _extrapolated(few: Report, many: Report) -> Report:
    if FAILED in few or FAILED in many:
        return {FAILED: "a run that it is told from failed"}
    low, high = (
        clients * report["kib_per_connection"] for clients, report in zip(MEASURED, (few, many))
    )
    slope = (high - low) / (MEASURED[1] - MEASURED[0])
    mib = {str(clients): (high + slope * (clients - MEASURED[1])) / 1024 for clients in TOLD}
    return {"entry": many["entry"], "slope_kib": slope, "mib": mib}

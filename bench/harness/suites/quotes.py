"""Many rooms: each client watches some of many symbols, a few of which have most of the quotes."""

from ..figures import CPU_PER_DELIVERY, DELIVERIES, LOAD_CORES, P50, P99, PEAK_MIB, SERVER_CORES, at
from ..model import Bar, Entry, Figure, Scenario, entries
from ..runners import quotes
from ..servers import (
    Bun,
    CalmTidings,
    ConflatedTidings,
    Floor,
    SocketIo,
    Socketioxide,
    Tidings,
)
from ..session import Session

CLIENTS = 10_000
SYMBOLS = 5_000
WATCHED = 50
HOT = 100
HOT_SHARE = 0.8
RATE = 2_000
# Socket.IO does not get through 200,000 deliveries a second; at this rate all take part.
SLOW_RATE = 250

CPU_PER_QUOTE = Figure("CPU µs per quote", at("cpu_us_per_quote"), 1, drawn=True)
OLDER = Figure("older after newer", at("older_after_newer"), 0)
FIGURES = (
    CPU_PER_QUOTE, CPU_PER_DELIVERY, DELIVERIES, P50, P99, OLDER, SERVER_CORES, LOAD_CORES,
    PEAK_MIB,
)  # fmt: skip
CONFLATED = ConflatedTidings.name
BARS = (
    Bar(
        "CPU per quote with conflation, of that without",
        CPU_PER_QUOTE, 0.5, Tidings.name, entry=CONFLATED,
    ),
    Bar("older quotes after newer ones, with conflation", OLDER, 0.0, entry=CONFLATED),
)  # fmt: skip


def suite(session: Session) -> None:
    """At the full rate and at one that Socket.IO can take."""
    session.measure(scenario(RATE, session.seconds, FAST, BARS, TOO_SLOW))
    session.measure(scenario(SLOW_RATE, session.seconds, ALL))


def scenario(
    rate: float,
    seconds: float,
    who: tuple[Entry, ...],
    bars: tuple[Bar, ...] = (),
    without: dict[str, str] | None = None,
) -> Scenario:
    """Quotes at a rate."""
    return Scenario(
        f"{CLIENTS:,} clients watch {WATCHED} of {SYMBOLS:,} symbols, {rate:,g} quotes/s,"
        f" {HOT} symbols have {HOT_SHARE:.0%} of them",
        quotes,
        who,
        FIGURES,
        bars,
        {
            "clients": CLIENTS, "rooms": SYMBOLS, "rooms-per-client": WATCHED, "rate": rate,
            "hot": HOT, "hot-share": HOT_SHARE, "seconds": seconds,
        },
        without={**NOT_AT_ALL, **(without or {})},
    )  # fmt: skip


FAST = entries(Tidings, ConflatedTidings, CalmTidings)
ALL = entries(Tidings, ConflatedTidings, Bun, Socketioxide, SocketIo)
NOT_AT_ALL = {Floor.name: "it knows one room"}
TOO_SLOW = {
    server.name: f"{RATE * CLIENTS * WATCHED / SYMBOLS:,g} deliveries/s are more than it does here"
    for server in (SocketIo, Socketioxide)
}

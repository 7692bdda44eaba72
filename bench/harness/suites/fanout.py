"""One room with all clients in it."""

from ..figures import CPU_PER_DELIVERY, FANOUT, P50, quantile
from ..model import Bar, Scenario, entries, entry
from ..runners import fanout
from ..servers import Bun, Floor, JoinedFloor, SocketIo, Socketioxide, Tidings
from ..session import Session

ALL = (Tidings, Bun, Socketioxide, SocketIo, Floor)
# What may be on the way when nothing else sets the pace: as many emits as the raw writer joins.
IN_FLIGHT = 16
PROBES = 20
PROBED_RATE = 10
ACK_P99 = quantile("ack_us", "p99", "ack p99 ms", drawn=True)

PACED_BARS = (
    Bar("CPU per delivery at 50/s, of Bun's", CPU_PER_DELIVERY, 1.10, Bun.name),
    Bar("CPU per delivery at 50/s, of Socket.IO's", CPU_PER_DELIVERY, 0.45, SocketIo.name),
    Bar("CPU per delivery at 50/s, of socketioxide's", CPU_PER_DELIVERY, 0.6, Socketioxide.name),
)
FLAT_BARS = (
    Bar("CPU per delivery flat out, of Bun's", CPU_PER_DELIVERY, 0.8, Bun.name),
    Bar("CPU per delivery flat out, of Socket.IO's", CPU_PER_DELIVERY, 1 / 12, SocketIo.name),
    Bar("p50 flat out, of Bun's", P50, 1.0, Bun.name),
)
PROBE_BARS = (Bar("others' ack p99 during a fan-out to 10,000, ms", ACK_P99, 10.0),)


def suite(session: Session) -> None:
    """Each size at each pace."""
    seconds = session.seconds
    for rate in (10, 50, 100):
        session.measure(paced(1000, rate, seconds, PACED_BARS if rate == 50 else ()))
    session.measure(flat(1000, seconds, FLAT_BARS))
    for clients in (5_000, 10_000):
        session.measure(paced(clients, 10, seconds))
        session.measure(flat(clients, seconds))
    session.measure(probed(10_000, seconds))


def paced(clients: int, rate: float, seconds: float, bars: tuple[Bar, ...] = ()) -> Scenario:
    """Emits so far apart that each is flushed by itself."""
    return Scenario(
        f"{clients:,} clients in one room, {rate:g} emits/s",
        fanout,
        entries(*ALL),
        FANOUT,
        bars,
        {"clients": clients, "rate": rate, "seconds": seconds},
    )


def flat(clients: int, seconds: float, bars: tuple[Bar, ...] = ()) -> Scenario:
    """Emits as fast as clients take them."""
    return Scenario(
        f"{clients:,} clients in one room, as fast as it goes ({IN_FLIGHT} emits on the way)",
        fanout,
        entries(*ALL, JoinedFloor),
        FANOUT,
        bars,
        {"clients": clients, "rate": 0, "seconds": seconds, "in-flight": IN_FLIGHT},
        logarithmic=True,
    )


def probed(clients: int, seconds: float) -> Scenario:
    """How long others wait for their acknowledgements meanwhile."""
    return Scenario(
        f"{PROBES} other clients ask while {PROBED_RATE} emits/s go to {clients:,}",
        fanout,
        (entry(Tidings), entry(Bun), entry(Socketioxide), entry(SocketIo)),
        (ACK_P99, quantile("ack_us", "p50", "ack p50 ms"), *FANOUT),
        PROBE_BARS,
        {"clients": clients, "rate": PROBED_RATE, "seconds": seconds, "probes": PROBES},
        without={Floor.name: "it knows no acknowledgements"},
        logarithmic=True,
    )

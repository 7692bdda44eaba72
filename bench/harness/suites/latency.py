"""How long events are on their way, at shares of the load that saturates a server."""

from ..figures import CPU_PER_DELIVERY, DELIVERIES, EMITS, LOAD_CORES, P50, P99, P999, SERVER_CORES
from ..model import Bar, Scenario, entries, entry
from ..result import Result
from ..runners import fanout
from ..servers import Bun, Floor, Server, SocketIo, Socketioxide, Tidings
from ..session import Session
from . import fanout as flat_out

CLIENTS = 1000
SHARES = (0.2, 0.5, 0.8)
SERVERS: tuple[type[Server], ...] = (Tidings, Bun, Socketioxide, SocketIo)
FIGURES = (P50, P99, P999, EMITS, CPU_PER_DELIVERY, SERVER_CORES, LOAD_CORES)
# At one load for all, what the machine and the generator themselves take, by the floor.
AT_ONE_LOAD: tuple[type[Server], ...] = (*SERVERS, Floor)
WITHOUT = {Floor.name: "nothing saturates it: its writes wait for nobody"}
BAR = Bar(
    "p99 at half of Socket.IO's load, of Socket.IO's p50",
    P99, 1.0, SocketIo.name, their_figure=P50,
)  # fmt: skip


def suite(session: Session) -> None:
    """All at the same load, then each at its own."""
    saturated = session.measure(saturation(session.seconds))
    for share in SHARES:
        measure_at_socketio_load(session, saturated, share, AT_ONE_LOAD)
    for share in SHARES:
        session.measure(at_own_load(saturated, share, session.seconds))


def saturation(seconds: float) -> Scenario:
    """As fast as it goes."""
    return Scenario(
        f"saturation: {CLIENTS:,} clients in one room, as fast as it goes",
        fanout,
        entries(*SERVERS),
        (DELIVERIES, EMITS, CPU_PER_DELIVERY, SERVER_CORES, LOAD_CORES),
        options={
            "clients": CLIENTS, "rate": 0, "seconds": seconds, "in-flight": flat_out.IN_FLIGHT,
        },
        without=WITHOUT,
    )  # fmt: skip


def measure_at_socketio_load(
    session: Session, saturated: Result, share: float, servers: tuple[type[Server], ...]
) -> None:
    """All at a share of what saturates Socket.IO, unless that was not measured."""
    if SocketIo.name not in saturated.reports:
        return
    if most := saturated.median(EMITS, SocketIo.name):
        rate = round(most * share, 1)
        session.measure(_at_socketio_load(share, rate, session.seconds, servers))


def _at_socketio_load(
    share: float, rate: float, seconds: float, servers: tuple[type[Server], ...]
) -> Scenario:
    return Scenario(
        f"{share:.0%} of what saturates Socket.IO: {rate:g} emits/s to {CLIENTS:,} clients",
        fanout,
        entries(*servers),
        FIGURES,
        (BAR,) if share == 0.5 else (),
        {"clients": CLIENTS, "rate": rate, "seconds": seconds},
        logarithmic=True,
    )


def at_own_load(saturated: Result, share: float, seconds: float) -> Scenario:
    """Each at a share of what saturates itself."""
    rates = {
        server: round(most * share, 1)
        for server in SERVERS
        if server.name in saturated.reports and (most := saturated.median(EMITS, server.name))
    }
    return Scenario(
        f"{share:.0%} of what saturates each, {CLIENTS:,} clients",
        fanout,
        tuple(entry(server, rate=rate) for server, rate in rates.items()),
        FIGURES,
        (),
        {"clients": CLIENTS, "seconds": seconds},
        without=WITHOUT,
        logarithmic=True,
    )

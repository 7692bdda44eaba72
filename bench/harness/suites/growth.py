"""What a delivery costs as the work grows: clients, rooms, subscriptions, shards. In each series
everything else stays the same, deliveries each second too, so that a flat line means that size
costs nothing."""

from ..figures import CPU_PER_DELIVERY, DELIVERIES, LOAD_CORES, P50, P99, PEAK_MIB, SERVER_CORES
from ..model import Figure, Scenario, entries
from ..runners import fanout, idle, quotes
from ..servers import Bun, OneShard, SocketIo, Socketioxide, Tidings, TwoShards
from ..session import Plot, Series, Session
from .fanout import IN_FLIGHT
from .idle import IDLE

CLIENTS = (1_000, 2_000, 5_000, 10_000, 18_000)
FANOUT_DELIVERIES = 40_000
# (rooms, clients, rooms of each client): ten members in every room.
ROOMS = (
    (10, 100, 1), (100, 1_000, 1), (1_000, 1_000, 10), (10_000, 1_000, 100), (100_000, 10_000, 100),
)  # fmt: skip
SUBSCRIPTIONS = (1, 5, 20, 50, 200)
SUBSCRIBERS = 1_000
# Subscribers of each room, whatever each client subscribes to.
MEMBERS = 50
QUOTE_DELIVERIES = 20_000

COST = (CPU_PER_DELIVERY, P50, P99, PEAK_MIB, DELIVERIES, SERVER_CORES, LOAD_CORES)


def suite(session: Session) -> None:
    """Four series."""
    by_clients(session)
    by_rooms(session)
    by_subscriptions(session)
    by_shards(session)


def by_clients(session: Session) -> None:
    """One room; fewer emits to more clients."""
    cost = {count: session.measure(_fanout(count, session.seconds)) for count in CLIENTS}
    memory = {count: session.measure(_idle(count)) for count in CLIENTS}
    charts = ((CPU_PER_DELIVERY, cost), (IDLE, memory), (P99, cost))
    session.draw(Plot("One room", "clients", charts))


def by_rooms(session: Session) -> None:
    """More rooms of ten members each."""
    cost: Series = {}
    for rooms, clients, each in ROOMS:
        scenario = _quotes(
            f"{rooms:,} rooms of {clients * each // rooms}, {clients:,} clients",
            clients, rooms, each, session.seconds,
        )  # fmt: skip
        cost[rooms] = session.measure(scenario)
    session.draw(Plot("Rooms of ten members", "rooms", _charts(cost)))


def by_subscriptions(session: Session) -> None:
    """More rooms of fifty members each, as each client is in more of them."""
    cost: Series = {}
    for each in SUBSCRIPTIONS:
        scenario = _quotes(
            f"{each} subscriptions of each of {SUBSCRIBERS:,} clients",
            SUBSCRIBERS, SUBSCRIBERS * each // MEMBERS, each, session.seconds,
        )  # fmt: skip
        cost[each] = session.measure(scenario)
    session.draw(Plot("Rooms of fifty members", "subscriptions per client", _charts(cost)))


def by_shards(session: Session) -> None:
    """The same load on one thread and on two."""
    for rate in (50, 0):
        pace = f"{rate} emits/s" if rate else "as fast as it goes"
        options = {
            "clients": 1000, "rate": rate, "seconds": session.seconds, "in-flight": IN_FLIGHT,
        }  # fmt: skip
        session.measure(
            Scenario(
                f"shards: 1,000 clients in one room, {pace}",
                fanout,
                entries(OneShard, TwoShards),
                COST,
                options=options,
            )
        )


def _charts(cost: Series) -> tuple[tuple[Figure, Series], ...]:
    return tuple((figure, cost) for figure in (CPU_PER_DELIVERY, PEAK_MIB, P99))


def _fanout(clients: int, seconds: float) -> Scenario:
    rate = FANOUT_DELIVERIES / clients
    return Scenario(
        f"{clients:,} clients in one room, {rate:.1f} emits/s",
        fanout,
        entries(Tidings, Bun, Socketioxide, SocketIo),
        COST,
        options={"clients": clients, "rate": rate, "seconds": seconds},
    )


def _idle(clients: int) -> Scenario:
    return Scenario(
        f"{clients:,} silent clients",
        idle,
        entries(Tidings, Bun, Socketioxide, SocketIo),
        (IDLE,),
        options={"clients": clients, "flood": 0},
    )


def _quotes(title: str, clients: int, rooms: int, each: int, seconds: float) -> Scenario:
    members = clients * each / rooms
    options = {
        "clients": clients, "rooms": rooms, "rooms-per-client": each, "seconds": seconds,
        "rate": QUOTE_DELIVERIES / members, "hot": 0, "hot-share": 0,
    }  # fmt: skip
    return Scenario(title, quotes, entries(Tidings, SocketIo), COST, options=options)

"""Clients whose way lets no WebSocket through."""

from ..figures import FANOUT
from ..model import Scenario, entries
from ..runners import fanout
from ..servers import Bun, Floor, SocketIo, Socketioxide, Tidings
from ..session import Session

CLIENTS = 1000


def suite(session: Session) -> None:
    """One emit a second, as each costs every client a request."""
    session.measure(scenario(session.seconds))


def scenario(seconds: float) -> Scenario:
    """Long polls: after each event the client asks anew."""
    return Scenario(
        f"{CLIENTS:,} long-polling clients in one room, 1 emit/s",
        fanout,
        entries(Tidings, Socketioxide, SocketIo),
        FANOUT,
        (),
        {"clients": CLIENTS, "rate": 1, "seconds": seconds, "transport": "polling"},
        without={server.name: "it knows no polling" for server in (Bun, Floor)},
    )

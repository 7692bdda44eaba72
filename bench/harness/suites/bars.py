"""All that is promised, and as little else as that needs."""

from dataclasses import replace

from ..model import Entry, Scenario, entry
from ..servers import Floor, SocketIo, Tidings
from ..session import Session
from . import connect, fanout, idle, latency, quotes, users


def suite(session: Session) -> None:
    """The scenarios that have bars, with the servers that the bars name and the floor."""
    seconds = session.seconds
    session.measure(fanout.paced(1000, 50, seconds, fanout.PACED_BARS))
    saturated = session.measure(fanout.flat(1000, seconds, fanout.FLAT_BARS))
    latency.measure_at_socketio_load(session, saturated, 0.5, (Tidings, SocketIo, Floor))
    session.measure(_only(fanout.probed(10_000, seconds), entry(Tidings), entry(SocketIo)))
    session.measure(
        quotes.scenario(quotes.RATE, seconds, quotes.FAST, quotes.BARS, quotes.TOO_SLOW)
    )
    session.measure(users.scenario(seconds, users.STREAMED))
    session.measure(connect.in_turn())
    session.measure(connect.avalanche())
    session.measure(idle.scenario(10_000))
    session.measure(_only(idle.scenario(10_000, tls=True), entry(Tidings)))


def _only(scenario: Scenario, *chosen: Entry) -> Scenario:
    return replace(scenario, entries=chosen)

"""Whether the load generator is the limit: does a second one beside bring more through?"""

import subprocess
import time

from .. import load
from ..figures import CPU_PER_DELIVERY, DELIVERIES, EMITS, LOAD_CORES, SERVER_CORES, at
from ..model import Figure, Report, Scenario, entry
from ..runners import fanout
from ..servers import Bun, Server, SocketIo, Tidings
from ..session import Session
from .fanout import IN_FLIGHT

CLIENTS = 1000
WARM_UP_S = 2.0
# The second generator listens for longer than the first one emits: before, and after.
CONNECT_S = 3.0
TRAIL_S = 5.0

SECOND_LOAD_CORES = Figure("second's load cores", at("second", "load_cores"))


def suite(session: Session) -> None:
    """The same clients on one generator and on two; the sum must not rise."""
    for server in (Tidings, Bun, SocketIo):
        session.measure(scenario(server, session.seconds))


def scenario(server: type[Server], seconds: float) -> Scenario:
    """One generator, then two that share the clients."""
    return Scenario(
        f"{server.name}: {CLIENTS:,} clients as fast as it goes, on one and two generators",
        _run,
        (
            entry(server, f"{server.name}, one generator", generators=1),
            entry(server, f"{server.name}, two generators", generators=2),
        ),
        (DELIVERIES, EMITS, CPU_PER_DELIVERY, SERVER_CORES, LOAD_CORES, SECOND_LOAD_CORES),
        options={"rate": 0, "seconds": seconds, "warm-up": WARM_UP_S, "in-flight": IN_FLIGHT},
    )


def _run(server: Server, options: load.Options) -> Report:
    given = {name: value for name, value in options.items() if name != "generators"}
    if options["generators"] == 1:
        return fanout(server, {**given, "clients": CLIENTS})
    return _both(server, given)


def _both(server: Server, options: load.Options) -> Report:
    """One generator emits, the other only listens; deliveries of both count."""
    half = CLIENTS // 2
    listen_s = CONNECT_S + WARM_UP_S + float(str(options["seconds"])) + TRAIL_S
    listening = {
        "clients": half, "external-emits": True, "seconds": listen_s, "subscribe": load.JOIN_ROOM,
        **load.emitting(server, server.emit_url, load.ROOM_EMIT),
    }  # fmt: skip
    second = subprocess.Popen(
        load.arguments(server, "fanout", listening),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        time.sleep(CONNECT_S)
        first = fanout(server, {**options, "clients": half})
        said = second.communicate(timeout=load.TIMEOUT_S)
    finally:
        second.kill()
    return _sum(first, load.report(server, second.returncode, *said))


def _sum(first: Report, second: Report) -> Report:
    """Both generators' clients got the same emits; what the second's got while the first measured
    is as much as the first's."""
    if second["events_least"] != second["events_most"]:
        raise load.Invalid("the second generator's clients did not all get the same events")
    both = 1 + second["clients"] / first["clients"]
    # It was at work only as long as the first one emitted.
    working_s = first["seconds"] + WARM_UP_S
    second["load_cores"] *= second["seconds"] / working_s
    return {
        **first,
        "second": second,
        "deliveries": first["deliveries"] * both,
        "deliveries_per_second": first["deliveries_per_second"] * both,
        "cpu_us_per_delivery": first["cpu_us_per_delivery"] / both,
    }

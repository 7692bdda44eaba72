"""Events that are kept for clients that come back: what keeping them costs, and what is left when
the node that clients were on is killed."""

import json
import subprocess
import time
from urllib.parse import urlsplit
from http.client import HTTPConnection

from .. import load
from ..figures import SERVER_CORES, at, quantile
from ..load import Invalid, Options
from ..model import Bar, Figure, Report, Scenario, entries
from ..paths import BENCH
from ..servers import Several, SocketIoStreams, TidingsKeeping, TidingsKeepingTrio
from ..session import Session

OURS, THEIRS = TidingsKeepingTrio.name, SocketIoStreams.name
CLIENTS = 500
RATE = 500
SURVIVORS = 100
JOIN = '["subscribe:mine",{}]'
CPU_PER_EMIT = Figure("CPU µs per emit, all processes", at("cpu_us_per_emit"), drawn=True)
ANSWER = tuple(quantile("answer_us", name, f"answer {name} ms") for name in ("p50", "p99"))
RECEIVED = tuple(quantile("latency_us", name, f"received {name} ms") for name in ("p50", "p99"))
FIGURES = (CPU_PER_EMIT, *ANSWER, *RECEIVED, Figure("emits/s", at("emits_per_second"), 0), SERVER_CORES)
# Of the clients' processes; a killed one must not be waited for.
PATIENCE_S = 60


def suite(session: Session) -> None:
    """At a steady pace, as fast as it goes, and across a death."""
    session.measure(emits(RATE, session.seconds))
    session.measure(emits(0, session.seconds))
    session.measure(killed())


def emits(rate: int, seconds: float) -> Scenario:
    """To one of the users each."""
    pace = f"{rate} emits/s" if rate else "emits as fast as they are taken"
    return Scenario(
        f"kept for {CLIENTS} users on the last node, {pace} on the first",
        _emit,
        entries(TidingsKeepingTrio, TidingsKeeping, SocketIoStreams),
        FIGURES,
        options={"clients": CLIENTS, "rate": rate, "seconds": seconds, "subscribe": JOIN},
    )


def killed() -> Scenario:
    """All clients of a node that is killed go to another."""
    lost = Figure("missed of 100", lambda report: SURVIVORS - report["got"], 0, drawn=True)
    return Scenario(
        f"{SURVIVORS} clients whose node is killed with -9, an event for each, then all come back",
        _kill,
        entries(TidingsKeepingTrio, SocketIoStreams),
        (Figure("recovered", at("recovered"), 0), lost, Figure("repeated", at("repeated"), 0)),
        (Bar("missed after a kill", lost, 0, entry=OURS),),
    )


def _emit(server, options: Options) -> Report:
    given = {
        "auth": '{"userId":"user-{n}"}',
        "mode": "post",
        **load.emitting(server, server.emit_url, load.user_emit(server, '"room":"mine:user-{user}"')),
    }
    return load.run(server, "users", {**given, **options})


def _kill(server: Several, options: Options) -> Report:
    del options
    first, second = server.members[-2], server.members[-1]
    script = BENCH / "peers" / "socketio" / "survive.mjs"
    command = ["node", str(script), first.target, second.target, str(SURVIVORS)]
    clients = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        for _ in range(SURVIVORS):
            _line(clients, "subscribed")
        _send_each(server, 1)
        _line(clients, "connected")
        first.process.kill()
        first.process.wait()
        _send_each(server, 2)
        said, errors = clients.communicate("go\n", timeout=PATIENCE_S)
        if clients.returncode != 0:
            raise Invalid(f"{server.name}: {errors.strip()[-500:]}")
        return json.loads(said)
    finally:
        clients.kill()
        clients.wait()


def _send_each(server: Several, number: int) -> None:
    """An event for each client, again while it is not taken."""
    url = urlsplit(server.emit_url)
    headers = dict(header.split(": ", 1) for header in server.emit_headers)
    for user in range(SURVIVORS):
        emit = {
            "room": f"mine:user-{user}",
            "event": "trade:executed",
            "data": {"number": number},
            "id": f"{number}-{user}",
        }
        deadline = time.monotonic() + PATIENCE_S
        while True:
            connection = HTTPConnection(url.netloc)
            connection.request("POST", url.path, json.dumps(emit), headers)
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            if answer.status == 202:
                break
            if time.monotonic() > deadline:
                raise Invalid(f"{server.name}: an emit was answered {answer.status}: {body[:200]!r}")
            time.sleep(0.1)


def _line(clients: subprocess.Popen, wanted: str) -> None:
    said = clients.stdout.readline().strip()
    if said != wanted:
        clients.kill()
        raise Invalid(f"clients said {said!r}: {clients.stderr.read()[-500:]}")

"""Several nodes: clients on one, emits on another; what a node gets that it has no use for; what
nodes cost as there are more of them, and how soon all know the rooms of all."""

import http.client
import json
import math
import time
from urllib.parse import urlsplit

from ..figures import CPU_PER_DELIVERY, EMITS, LOAD_CORES, P50, P99, P999, SERVER_CORES, at
from ..listener import Listener
from ..load import Invalid, Options
from ..machine import cpu_seconds
from ..model import Bar, Figure, Report, Scenario, entries
from ..runners import fanout
from ..servers import (
    Server,
    Several,
    SocketIoPair,
    TidingsFive,
    TidingsPair,
    TidingsTen,
    TidingsTrio,
)
from ..session import Session

OURS, THEIRS = TidingsPair.name, SocketIoPair.name
SIZES = (TidingsTrio, TidingsFive, TidingsTen)
FIGURES = (CPU_PER_DELIVERY, P50, P99, P999, EMITS, SERVER_CORES, LOAD_CORES)
# Of which one has a listener on the last node.
ROOMS = 8
# Rooms that a client names in one message, as many as a node takes.
AT_ONCE = 1000
# Rooms of one client: what it costs to keep its rooms for its return grows with them.
OF_ONE = 2000
# Joins each second, in messages of ten, each of which is acknowledged.
CHURN, CHURN_AT_ONCE = 1000, 10
IDLE_S = 10


def suite(session: Session) -> None:
    """Beside Socket.IO first, then by number of nodes."""
    session.measure(across(1, 200, session.seconds))
    session.measure(across(1000, 20, session.seconds))
    session.measure(of_no_use(session.seconds))
    session.measure(by_nodes(session.seconds))
    for rooms in (10_000, 100_000):
        session.measure(converging(rooms, session.seconds))


def across(listeners: int, rate: float, seconds: float) -> Scenario:
    """From one node to the other."""
    what = f"{listeners:,} listener{'s' if listeners > 1 else ''}"
    most = 1 / 8 if listeners == 1 else 0.4
    return Scenario(
        f"{what} on the second node, {rate:g} emits/s on the first",
        fanout,
        entries(TidingsPair, SocketIoPair),
        FIGURES,
        (
            _bar(f"CPU per delivery, {what}", CPU_PER_DELIVERY, most),
            _bar(f"p50, {what}", P50, 0.5),
            _bar(f"p99, {what}", P99, 0.5),
        ),
        {"clients": listeners, "rate": rate, "seconds": seconds},
    )


def _bar(title: str, figure: Figure, at_most: float) -> Bar:
    return Bar(f"{title}, of Socket.IO's with Redis", figure, at_most, THEIRS, entry=OURS)


def of_no_use(seconds: float) -> Scenario:
    """Traffic to a node that has listeners in one of several rooms."""
    return Scenario(
        f"{ROOMS} rooms, a listener on the second node in one, 200 emits/s in turn on the first",
        _rooms_in_turn,
        entries(TidingsPair, SocketIoPair),
        (
            Figure("bytes into it per emit", at("bytes_per_emit"), 0, drawn=True),
            Figure("per emit it delivers", at("bytes_per_delivery"), 0),
            Figure("delivered", at("deliveries"), 0),
            Figure("emitted", at("emits"), 0),
        ),
        options={"seconds": seconds, "rate": 200},
    )


def by_nodes(seconds: float) -> Scenario:
    """What more nodes cost."""
    return Scenario(
        "nodes on one machine: idle, then one listener on the last and 200 emits/s on the first",
        _idle_then_emits,
        entries(TidingsPair, *SIZES),
        (
            Figure("idle CPU ms/s per node", at("idle_ms_per_node"), drawn=True),
            Figure("CPU µs per emit, all nodes", CPU_PER_DELIVERY.of),
            Figure("of it beyond idle", at("beyond_idle_us")),
            P50,
            P99,
            Figure("MiB per node", at("mib_per_node"), 1),
        ),
        options={"clients": 1, "rate": 200, "seconds": seconds},
    )


def converging(rooms: int, seconds: float) -> Scenario:
    """How soon all know the rooms of all, and what changes cost."""
    return Scenario(
        f"{rooms:,} rooms on every node, then a node more, then {CHURN:,} joins/s on the first",
        _converge,
        entries(*SIZES),
        (
            Figure("s until all know all", at("joined_s"), drawn=True),
            Figure("s for a new node", at("newcomer_s"), drawn=True),
            Figure("join p50 ms", at("churn", "p50"), 2),
            Figure("join p99 ms", at("churn", "p99"), 2),
            Figure("joins/s", at("churn", "rate"), 0),
            Figure("CPU µs per join there", at("churn", "here_us"), 1),
            Figure("and on each other node", at("churn", "there_us"), 1),
            Figure("s in step after", at("churn", "settled_s"), 2),
            Figure("MiB per node", at("mib_per_node"), 1),
        ),
        options={"rooms": rooms, "seconds": seconds},
    )


def _rooms_in_turn(server: Several, options: Options) -> Report:
    listener = Listener(server.target, server.path, "listener")
    listener.ask("subscribe:watchlist", {"symbols": ["S0"]})
    emits = int(float(str(options["seconds"])) * int(str(options["rate"])))
    url = urlsplit(server.emit_url)
    connection = http.client.HTTPConnection(url.netloc)
    headers = dict(header.split(": ", 1) for header in server.emit_headers)
    before = server.into_last()
    begun = time.monotonic()
    for number in range(emits):
        time.sleep(max(0.0, begun + number / int(str(options["rate"])) - time.monotonic()))
        emit = {
            "room": f"quote:S{number % ROOMS}",
            "event": "watchlist:quote",
            "data": {"price": 227.52, "bid": 227.51, "ask": 227.53, "volume": number},
        }
        connection.request("POST", url.path, json.dumps(emit), headers)
        connection.getresponse().read()
    due = math.ceil(emits / ROOMS)
    _until(lambda: listener.events >= due, 10)
    received = server.into_last() - before
    listener.close()
    if listener.events != due:
        raise Invalid(f"{server.name}: {listener.events} of {due} events were delivered")
    return {
        "emits": emits,
        "deliveries": due,
        "bytes_per_emit": received / emits,
        "bytes_per_delivery": received / due,
    }


def _idle_then_emits(server: Several, options: Options) -> Report:
    before = sum(server.cpu_seconds())
    time.sleep(IDLE_S)
    idle = (sum(server.cpu_seconds()) - before) / IDLE_S
    report = fanout(server, options)
    idle_us = idle * 1e6 / (report["emits"] / report["seconds"])
    return {
        **report,
        "idle_ms_per_node": idle * 1000 / len(server.members),
        "beyond_idle_us": report["cpu_us_per_delivery"] - idle_us,
        "mib_per_node": _mib(server),
    }


def _converge(server: TidingsPair, options: Options) -> Report:
    rooms = int(str(options["rooms"]))
    begun = time.monotonic()
    # In turn: it is the nodes that are measured, not this process's threads.
    listeners = [
        _listener(node, f"N{number}R", first)
        for number, node in enumerate(server.nodes)
        for first in range(0, rooms, OF_ONE)
    ]
    _until(lambda: _all_know(server), 60)
    joined = time.monotonic() - begun
    begun = time.monotonic()
    server.add()
    _until(lambda: _all_know(server), 60)
    newcomer = time.monotonic() - begun
    churning = Listener(server.nodes[0].target, server.nodes[0].path, "churning")
    churn = _churn(server, churning, float(str(options["seconds"])))
    mib = _mib(server)
    for listener in [*listeners, churning]:
        listener.close()
    return {"joined_s": joined, "newcomer_s": newcomer, "churn": churn, "mib_per_node": mib}


def _listener(node: Server, prefix: str, first: int) -> Listener:
    """A client with some of a node's rooms."""
    listener = Listener(node.target, node.path, f"user-{first}")
    for start in range(first, first + OF_ONE, AT_ONCE):
        names = [f"{prefix}{room}" for room in range(start, start + AT_ONCE)]
        listener.ask("subscribe:watchlist", {"symbols": names})
    return listener


def _churn(server: TidingsPair, listener: Listener, seconds: float) -> dict[str, float]:
    """Joins and leaves, as many of each."""
    before = [cpu_seconds(node.pid) for node in server.nodes]
    begun = time.monotonic()
    took: list[float] = []
    messages = int(seconds * CHURN / CHURN_AT_ONCE)
    for number in range(messages):
        due = begun + number * CHURN_AT_ONCE / CHURN
        time.sleep(max(0.0, due - time.monotonic()))
        names = [f"C{number}-{one}" for one in range(CHURN_AT_ONCE)]
        took.append(listener.ask("subscribe:watchlist", {"symbols": names}))
        listener.ask("unsubscribe:watchlist", {"symbols": names})
    elapsed = time.monotonic() - begun
    here, *there = (cpu_seconds(node.pid) - used for node, used in zip(server.nodes, before))
    joins = messages * CHURN_AT_ONCE
    ended = time.monotonic()
    _until(lambda: _all_know(server), 60)
    took.sort()
    return {
        "p50": took[len(took) // 2] * 1e3,
        "p99": took[len(took) * 99 // 100] * 1e3,
        "rate": joins / elapsed,
        "here_us": here * 1e6 / joins,
        "there_us": sum(there) / len(there) * 1e6 / joins,
        "settled_s": time.monotonic() - ended,
    }


def _all_know(server: TidingsPair) -> bool:
    others = len(server.nodes) - 1
    return all(node.is_in_step(others) for node in server.nodes)


def _mib(server: Several) -> float:
    memory = [member.memory_kib()["resident"] for member in server.members]
    return sum(memory) / len(memory) / 1024


def _until(so, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not so():
        if time.monotonic() > deadline:
            raise Invalid(f"not so within {seconds:g} s")
        time.sleep(0.02)

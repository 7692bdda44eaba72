"""How each kind of load is put on a server. What servers are told differs in form only."""

from . import load
from .model import Report
from .servers import Redis, Server

# Emits to users in one request; a backend that has many sends them so.
USERS_PER_REQUEST = 100
# At 2,000 quotes/s a request every 10 ms.
QUOTES_PER_REQUEST = 20
JSON_LIST = {"batch-open": "[", "batch-close": "]", "batch-separator": ","}


def fanout(server: Server, options: load.Options) -> Report:
    """All clients in one room."""
    emits = load.emitting(server, server.emit_url, load.ROOM_EMIT)
    given = {"subscribe": load.JOIN_ROOM, "probe-event": _probe(options), **emits}
    return load.run(server, "fanout", {**given, **options})


def idle(server: Server, options: load.Options) -> Report:
    """Clients that say nothing, a flood, silence."""
    emits = load.emitting(server, server.emit_url, load.ROOM_EMIT)
    return load.run(server, "idle", {"subscribe": load.JOIN_ROOM, **emits, **options})


def connect(server: Server, options: load.Options) -> Report:
    """Clients that connect and subscribe."""
    return load.run(server, "connect", {"subscribe": load.JOIN_ROOM, **options})


def quotes(server: Server, options: load.Options) -> Report:
    """Many rooms; each client is in some of them. Quotes come in batches, as from one feed."""
    given = {
        "subscribe": load.JOIN_SYMBOLS,
        # A conflated room owes its newest quote only; any other owes every quote.
        "exact": not server.conflates,
        "batch": QUOTES_PER_REQUEST,
        **JSON_LIST,
        **load.emitting(server, server.batch_url, load.SYMBOL_EMIT),
    }
    return load.run(server, "quotes", {**given, **options})


def users(server: Server, options: load.Options) -> Report:
    """Emits to single users, by the way that `mode` names."""
    urls = {"post": server.emit_url, "batch": server.batch_url, "stream": server.stream_url}
    url = urls[str(options["mode"])]
    given = {
        "auth": '{"userId":"user-{n}"}',
        "batch-size": USERS_PER_REQUEST if options["mode"] == "batch" else None,
        **load.emitting(server, url, load.user_emit(server)),
    }
    return load.run(server, "users", {**given, **options})


def publish(server: Server, options: load.Options) -> Report:
    """PUBLISH with one subscriber."""
    if not isinstance(server, Redis):
        raise TypeError(f"{server.name} knows no PUBLISH")
    return server.publish(load.SAMPLE, int(str(options["count"])), list(options["flags"]))


def _probe(options: load.Options) -> str | None:
    return load.PROBE if options.get("probes") else None

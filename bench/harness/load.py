"""One run of tidings-load on one server."""

import json
import subprocess
from collections.abc import Mapping

from .paths import TARGET
from .servers import Server

Options = Mapping[str, object]

# About 130 bytes of JSON once the time is in it.
_QUOTE = (
    '{"ts":{now},"symbol":"AAPL","price":227.52,"bid":227.51,"ask":227.53,'
    '"change":1.27,"volume":48210377,"source":"bench"}'
)
# The same where not every client gets every emit: its number tells which ones are missing.
_COUNTED = _QUOTE.replace('"source":"bench"', '"seq":{seq}')
# And for who fills in nothing.
SAMPLE = _QUOTE.replace("{now}", "1234567890123456")
ROOM_EMIT = '{"room":"bench","event":"quote","data":' + _QUOTE + "}"
SYMBOL_EMIT = '{"room":"quote:{symbol}","event":"watchlist:quote","data":' + (
    _COUNTED.replace("AAPL", "{symbol}") + "}"
)
JOIN_ROOM = '["subscribe:bench",{}]'
JOIN_SYMBOLS = '["subscribe:watchlist",{"symbols":{symbols}}]'
# Joins a room to which nothing is sent: only its acknowledgement is of interest.
PROBE = '["subscribe:probe",{}]'
# Far above the longest run; a load that hangs must not hang the rounds after it.
TIMEOUT_S = 300


class Invalid(Exception):
    """A run whose figures mean nothing."""


def user_emit(server: Server, to: str | None = None) -> str:
    """An emit to one user, as the server wants it, or to a room."""
    return f'{{{to or server.to_user},"event":"trade:executed","data":{_COUNTED}}}'


def run(server: Server, command: str, options: Options) -> dict:
    """Runs a command of tidings-load and returns its report; raises Invalid if it cannot count."""
    done = subprocess.run(
        arguments(server, command, options), capture_output=True, text=True, timeout=TIMEOUT_S
    )
    return report(server, done.returncode, done.stdout, done.stderr)


def arguments(server: Server, command: str, options: Options) -> list[str]:
    """The command line; an option that is True stands alone, one that is None is left out."""
    chosen = {**_target(server), **options}
    flags = [part for name, value in chosen.items() for part in _flag(name, value)]
    return [str(TARGET / "tidings-load"), command, *flags]


def emitting(server: Server, url: str, body: str) -> dict[str, object]:
    """The options that say where emits go and what they are."""
    return {"emit-url": url, "emit-header": list(server.emit_headers), "emit-body": body}


def report(server: Server, code: int, stdout: str, stderr: str) -> dict:
    """What was said, if the run is valid."""
    if code != 0:
        said = " ".join(part for part in (stderr.strip(), stdout.strip()) if part)
        raise Invalid(f"{server.name}: {said or f'tidings-load ended with {code}'}")
    return json.loads(stdout)


def _target(server: Server) -> dict[str, object]:
    setup, supplies = server.setup, server.supplies
    return {
        "pid": server.pid,
        "beside": server.beside,
        "target": server.target,
        "path": server.path,
        "auth": f"@{supplies.sessions(setup.sessions)}" if setup.sessions else None,
        "tls": True if setup.tls else None,
        "ca": supplies.certificates().authority if setup.tls else None,
    }


def _flag(name: str, value: object) -> list[str]:
    match value:
        case None | False:
            return []
        case True:
            return [f"--{name}"]
        case list():
            return [part for item in value for part in _flag(name, item)]
        case _:
            return [f"--{name}", str(value)]

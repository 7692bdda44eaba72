"""One run of tidings-load on one server."""

import json
import subprocess

from .paths import TARGET
from .servers import Server

# About 130 bytes of JSON once the time is in it.
QUOTE = (
    '{"ts":{now},"symbol":"AAPL","price":227.52,"bid":227.51,"ask":227.53,'
    '"change":1.27,"volume":48210377,"source":"bench"}'
)
EMIT = '{"room":"bench","event":"quote","data":' + QUOTE + "}"
SUBSCRIBE = '["subscribe:bench",{}]'
# Far above the longest run; a load that hangs must not hang the rounds after it.
TIMEOUT_S = 300


class Invalid(Exception):
    """A run whose figures mean nothing."""


def run(server: Server, scenario: str, *options: object) -> dict:
    """Runs a scenario of tidings-load and returns its report with the server's name in it."""
    command = [
        TARGET / "tidings-load", scenario,
        "--pid", server.pid,
        "--target", server.target,
        "--path", server.path,
        "--subscribe", SUBSCRIBE,
        "--emit-url", server.emit_url,
        "--emit-body", EMIT,
        *(option for header in server.emit_headers for option in ("--emit-header", header)),
        *options,
    ]  # fmt: skip
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    if done.returncode != 0:
        raise Invalid(f"{server.name}: {done.stderr.strip()} {done.stdout.strip()}")
    return {"server": server.name, **json.loads(done.stdout)}

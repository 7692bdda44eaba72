"""A trading dashboard's use of a node, with the unmodified python-socketio:

    TIDINGS_SESSION='{"sessionID":…,"userId":…}' TIDINGS_API=http://… TIDINGS_API_KEY=… \
        python session.py URL --client asyncio|threads --transports websocket [--restart]

With --restart it connects, waits until the node has restarted, and must come back by itself.
"""

import asyncio
import json
import os
import sys
import traceback
import urllib.request

import socketio
from kit import Client, Target, arguments, until

AUTH = json.loads(os.environ["TIDINGS_SESSION"])
USER = AUTH["userId"]


async def api(method, path, body=None):
    """One request to the private API."""

    def call():
        request = urllib.request.Request(
            os.environ["TIDINGS_API"] + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "authorization": f"Bearer {os.environ['TIDINGS_API_KEY']}",
                "content-type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=20) as response:
            text = response.read()
            return json.loads(text) if text else None

    return await asyncio.to_thread(call)


async def connected(target, auth=None, events=()):
    """A client in the main namespace that records `events`."""
    client = Client(target)
    for event in ("connect", "disconnect", "connect_error", *events):
        client.on(event, namespace="/")
    await client.connect(namespaces=["/"], auth=auth or AUTH)
    return client


async def subscribes_and_gets_events(target):
    client = await connected(target, events=("portfolio:updated", "trade:failed"))
    for channel in ("portfolio", "trades"):
        answer = await client.ask(f"subscribe:{channel}", {}, namespace="/")
        assert answer["ok"] is True, answer
    await api("POST", f"/api/v1/users/{USER}/portfolio", {"cash": 1})
    await api("POST", f"/api/v1/users/{USER}/trades/failed", {"id": 2})
    await until("both came", lambda: len(client.events) >= 3)
    assert client.of("portfolio:updated")[0][0] == {"cash": 1}
    assert client.of("trade:failed")[0][0] == {"id": 2}
    await client.close()


async def watches_quotes(target):
    client = await connected(target, events=("watchlist:quote",))
    symbols = [f"PY.{n}" for n in range(40)]
    answer = await client.ask("subscribe:watchlist", {"symbols": symbols}, namespace="/")
    assert answer["joined"] == symbols, answer
    await asyncio.gather(
        *(api("POST", f"/api/v1/quotes/{symbol}", {"price": 1}) for symbol in symbols)
    )
    await until("all came", lambda: len(client.of("watchlist:quote")) == 40)
    assert {args[0]["symbol"] for args in client.of("watchlist:quote")} == set(symbols)
    await client.close()


async def is_refused_without_a_session(target):
    for auth, code in (
        ({"userId": USER}, "missing_credentials"),
        ({"sessionID": "nobodys", "userId": USER}, "invalid_session"),
        ({**AUTH, "userId": "mallory"}, "user_mismatch"),
    ):
        client = Client(target)
        client.on("connect_error", namespace="/")
        try:
            await client.connect(namespaces=["/"], auth=auth)
        except socketio.exceptions.ConnectionError:
            await until("the reason came", lambda: client.of("connect_error"))
            error = client.of("connect_error")[0][0]
            assert error["data"]["code"] == code, error
        else:
            raise AssertionError(f"it connected with {code}")
        finally:
            await client.close()


async def is_disconnected_by_a_logout(target):
    session = await api("POST", "/api/v1/sessions", {"userId": "py-logout"})
    client = await connected(target, auth=session)
    await api("DELETE", f"/api/v1/sessions/{session['sessionID']}")
    await until("it is disconnected", lambda: client.of("disconnect"), deadline=2)
    await asyncio.sleep(0.6)
    assert not client.inner.connected


async def comes_back_after_a_restart(target):
    """The caller restarts the node and then greets whoever came back."""
    client = await connected(target, events=("welcome-back",))
    await until("the greeting came", lambda: client.of("welcome-back"), deadline=50)
    await client.close()


CHECKS = (
    subscribes_and_gets_events,
    watches_quotes,
    is_refused_without_a_session,
    is_disconnected_by_a_logout,
)


async def main():
    """Runs the checks; gives the exit code."""
    parser = arguments(__doc__)
    parser.add_argument("--restart", action="store_true")
    options = parser.parse_args()
    target = Target(options.url, options.client, options.transports.split(","))
    checks = (comes_back_after_a_restart,) if options.restart else CHECKS
    failures = 0
    for body in checks:
        try:
            await asyncio.wait_for(body(target), 60)
            print(f"ok      {body.__name__}")
        except Exception:  # noqa: BLE001 - whatever went wrong is the result
            failures += 1
            print(f"FAILED  {body.__name__}\n{traceback.format_exc()}")
    print(f"{len(checks) - failures} passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    # The threaded client may leave threads that wait for a reconnection.
    code = asyncio.run(main())
    sys.stdout.flush()
    os._exit(code)

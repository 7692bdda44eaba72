"""Drives a server of profile `kit` as a black box, with the unmodified python-socketio:

    python kit.py URL --client asyncio|threads --transports websocket|polling|polling,websocket

One list of checks serves both clients: the checks are written for asyncio, and the threaded
client is called through a thin wrapper that runs its blocking calls in a thread.
"""

import argparse
import asyncio
import base64
import itertools
import json
import os
import sys
import traceback
import urllib.request

import socketio

DEADLINE = 20
REFERENCE = os.environ.get("TIDINGS_REFERENCE") == "1"
CHECKS = []
COUNTER = itertools.count()


def check(body):
    """Declares a check; its name is the function's."""
    CHECKS.append(body)
    return body


def unique(what):
    """A name that no other check uses."""
    return f"{what}-py-{os.getpid()}-{next(COUNTER)}"


class Target:
    """The server under test and how to reach it."""

    def __init__(self, url, client, transports):
        self.url = url.rstrip("/")
        self.client = client
        self.transports = transports

    async def control(self, operation, **body):
        """One call of the control API."""

        def call():
            request = urllib.request.Request(
                f"{self.url}/__kit/{operation}",
                data=json.dumps({"nsp": "/kit", **body}).encode(),
                headers={"content-type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=DEADLINE) as response:
                return json.load(response)

        return await asyncio.to_thread(call)

    async def emit(self, room, event, *args, **more):
        """Emits to one room."""
        return await self.control("emit", rooms=[room], event=event, args=list(args), **more)


class Client:
    """A client of either kind behind awaitable calls; it records what comes."""

    def __init__(self, target):
        self.target = target
        self.threads = target.client == "threads"
        make = socketio.Client if self.threads else socketio.AsyncClient
        self.inner = make(reconnection_delay=0.4, randomization_factor=0)
        self.loop = asyncio.get_running_loop()
        self.events = []

    async def call(self, function, *args, **kwargs):
        if self.threads:
            return await asyncio.to_thread(function, *args, **kwargs)
        return await function(*args, **kwargs)

    def on(self, event, answer=None, namespace="/kit"):
        """Records the arguments of `event`; gives `answer` of them as the acknowledgement."""

        def record(*args):
            self.events.append((event, args))
            return answer(*args) if answer else None

        async def record_async(*args):
            return record(*args)

        self.inner.on(event, record if self.threads else record_async, namespace=namespace)

    def of(self, event):
        return [args for name, args in self.events if name == event]

    async def connect(self, namespaces=("/kit",), auth=None):
        await self.call(
            self.inner.connect,
            self.target.url,
            transports=self.target.transports,
            namespaces=list(namespaces),
            auth={"token": "secret"} if auth is None else auth,
            wait_timeout=10,
        )

    def sid(self, namespace="/kit"):
        return self.inner.get_sid(namespace)

    async def ask(self, event, data, namespace="/kit", timeout=10):
        return await self.call(self.inner.call, event, data, namespace=namespace, timeout=timeout)

    async def emit(self, event, data, namespace="/kit"):
        await self.call(self.inner.emit, event, data, namespace=namespace)

    async def close(self):
        await self.call(self.inner.disconnect)


async def until(what, probe, deadline=10):
    """Asks `probe` until it gives something true, and gives that."""
    end = asyncio.get_running_loop().time() + deadline
    while True:
        found = probe()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert asyncio.get_running_loop().time() < end, f"not so in {deadline} s: {what}"
        await asyncio.sleep(0.02)


async def connected(target, cleanup, *args, **kwargs):
    client = Client(target)
    cleanup.append(client)
    await client.connect(*args, **kwargs)
    return client


@check
async def connects_over_the_transports_asked_for(target, cleanup):
    client = await connected(target, cleanup)
    wanted = "websocket" if "websocket" in target.transports else "polling"
    assert client.inner.transport() == wanted, client.inner.transport()
    local = await target.control("local")
    found = next(socket for socket in local if socket["id"] == client.sid())
    assert found["recovered"] is False
    assert found["engine"] != client.sid()


@check
async def gets_each_kind_of_value_back(target, cleanup):
    client = await connected(target, cleanup)
    values = [None, True, -1.5, "é€😀\u2028\"\\", [], {}, [1, [2]], {"z": 1, "a": None}]
    for value in values:
        assert await client.ask("echo", (value,)) == value, value
    assert tuple(await client.ask("echo", tuple(values))) == tuple(values)


@check
async def gets_attachments_back(target, cleanup):
    client = await connected(target, cleanup)
    data = ({"deep": [b"\x00\xff", "text"]}, b"", b"\x01")
    assert tuple(await client.ask("echo", data)) == data


@check
async def takes_more_packets_than_fit_one_poll(target, cleanup):
    if REFERENCE and target.transports == ["polling"]:
        # The reference sends all in one answer; this client refuses more than 16 packets.
        return
    client = Client(target)
    cleanup.append(client)
    event = unique("burst")
    client.on(event)
    await client.connect()
    sid = client.sid()
    await asyncio.gather(*(target.emit(sid, event, n) for n in range(60)))
    await until("all came", lambda: len(client.of(event)) == 60)
    assert sorted(args[0] for args in client.of(event)) == list(range(60))


@check
async def gets_events_back_in_order(target, cleanup):
    if REFERENCE and target.transports == ["polling"]:
        return
    client = Client(target)
    cleanup.append(client)
    client.on("echo-back")
    await client.connect()
    for n in range(100):
        await client.emit("echo-back", n)
    await until("all came", lambda: len(client.of("echo-back")) == 100)
    assert [args[0] for args in client.of("echo-back")] == list(range(100))


async def refusal(target, cleanup, namespace, auth):
    """The payload of the CONNECT_ERROR that a connection to `namespace` gets."""
    client = Client(target)
    cleanup.append(client)
    client.on("connect_error", namespace=namespace)
    try:
        await client.connect(namespaces=[namespace], auth=auth)
    except socketio.exceptions.ConnectionError:
        await until("the reason came", lambda: client.of("connect_error"))
        return client.of("connect_error")[0][0]
    raise AssertionError("it connected")


@check
async def is_refused_by_a_middleware(target, cleanup):
    error = await refusal(target, cleanup, "/kit", {"token": "wrong"})
    assert error["message"] == "not authorized", error
    assert error["data"] == {"code": 401, "content": "bad token"}, error


@check
async def is_refused_in_an_unknown_namespace(target, cleanup):
    error = await refusal(target, cleanup, "/unknown", {})
    assert error == {"message": "Invalid namespace"}, error


@check
async def holds_several_namespaces(target, cleanup):
    namespaces = ["/", "/kit", "/dyn-python"]
    client = await connected(target, cleanup, namespaces=namespaces)
    for namespace in namespaces:
        assert await client.ask("echo", namespace, namespace=namespace) == namespace
    assert len({client.sid(namespace) for namespace in namespaces}) == 3


@check
async def is_reached_in_rooms(target, cleanup):
    client = Client(target)
    cleanup.append(client)
    room, event = unique("room"), unique("event")
    client.on(event)
    await client.connect()
    await target.control("join", rooms=[client.sid()], join=[room])
    await target.emit(room, event, 1)
    await until("it came", lambda: client.of(event))
    await target.control("leave", rooms=[room], leave=[room])
    await target.emit(room, event, 2)
    encoded = base64.b64encode(b"\x00\x01").decode()
    await target.emit(client.sid(), event, {"b": {"$b64": encoded}})
    await until("the last came", lambda: len(client.of(event)) == 2)
    assert [args[0] for args in client.of(event)] == [1, {"b": b"\x00\x01"}]


@check
async def answers_the_server(target, cleanup):
    client = Client(target)
    cleanup.append(client)
    event = unique("question")
    client.on(event, answer=lambda *args: {"got": args[0]})
    await client.connect()
    answer = await target.control(
        "ask", rooms=[client.sid()], event=event, args=["q"], timeout=5000
    )
    assert answer == {"err": None, "responses": [{"got": "q"}]}, answer


@check
async def stays_away_once_kicked(target, cleanup):
    client = Client(target)
    cleanup.append(client)
    client.on("disconnect")
    await client.connect()
    sid = client.sid()
    await target.control("kick", rooms=[sid], mode="close")
    await until("it noticed", lambda: client.of("disconnect"))
    gone = [gone["reason"] for gone in await target.control("gone") if gone["id"] == sid]
    assert gone == ["server namespace disconnect"], gone
    await asyncio.sleep(0.8)
    assert not client.inner.connected


@check
async def comes_back_once_cut_off(target, cleanup):
    if target.transports == ["polling"]:
        # This client takes the close packet of a poll for a wish to stay away.
        return
    client = await connected(target, cleanup)
    sid = client.sid()
    await target.control("kick", rooms=[sid], mode="engine")
    await until("it is back", lambda: client.sid() not in (None, sid))
    # The threaded client names the new socket a moment before it may use it.
    await until("it may speak", lambda: client.inner.connected)
    assert await client.ask("echo", 1) == 1


@check
async def that_leaves_is_seen_to(target, cleanup):
    client = await connected(target, cleanup)
    sid = client.sid()
    await client.close()

    async def reason():
        gone = await target.control("gone")
        return next((entry["reason"] for entry in gone if entry["id"] == sid), None)

    seen = await until("the server saw it", reason)
    assert seen in ("client namespace disconnect", "transport close"), seen


@check
async def stays_connected_through_heartbeats(target, cleanup):
    client = Client(target)
    cleanup.append(client)
    client.on("disconnect")
    await client.connect()
    await asyncio.sleep(4)
    assert not client.of("disconnect")
    assert await client.ask("echo", "alive") == "alive"


async def run_one(target, body):
    cleanup = []
    try:
        await asyncio.wait_for(body(target, cleanup), DEADLINE)
    finally:
        for client in cleanup:
            await client.close()


def arguments(doc):
    """The arguments that scripts of this folder share."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--client", choices=["asyncio", "threads"], default="asyncio")
    parser.add_argument("--transports", default="polling,websocket")
    return parser


async def main():
    """Runs every check; gives the exit code."""
    options = arguments(__doc__).parse_args()
    target = Target(options.url, options.client, options.transports.split(","))
    failures = 0
    for body in CHECKS:
        try:
            await run_one(target, body)
            print(f"ok      {body.__name__}")
        except Exception:  # noqa: BLE001 - whatever went wrong is the result
            failures += 1
            print(f"FAILED  {body.__name__}\n{traceback.format_exc()}")
    print(f"{len(CHECKS) - failures} passed, {failures} failed", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    # The threaded client may leave threads that wait for a reconnection.
    code = asyncio.run(main())
    sys.stdout.flush()
    os._exit(code)

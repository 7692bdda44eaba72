// The protocol of the Admin UI in development mode, spoken by socket.io-client:
//   TIDINGS_ADMIN_PASSWORD=… TIDINGS_API=http://… TIDINGS_API_KEY=… node admin-ui.mjs URL
import assert from "node:assert/strict";
import { io } from "socket.io-client";
import { found, operator, password } from "./lib/admin.mjs";
import { check, collect, once, runChecks, until } from "./lib/check.mjs";

const url = process.argv[2];
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const SECRETS = ["cookie-secret", "header-secret", "query-secret", "auth-secret", "key-secret"];
const login = { username: "admin", password };

/** A client that shows secrets wherever there is a place for them. */
async function client(cleanup, name, transports = ["websocket"]) {
  const socket = io(url, {
    transports,
    forceNew: true,
    auth: { userId: name, token: SECRETS[3] },
    query: { token: SECRETS[2] },
    extraHeaders: {
      cookie: `connect.sid=s%3A${SECRETS[0]}.x`,
      authorization: `Bearer ${SECRETS[1]}`,
      "x-api-key": SECRETS[4],
      "user-agent": `agent of ${name}`,
    },
  });
  cleanup(() => socket.disconnect());
  await once(socket, "connect");
  return socket;
}

async function refused(auth, cleanup) {
  return operator(url, auth, cleanup).then(
    () => assert.fail(`let in with ${JSON.stringify(auth)}`),
    (error) => error,
  );
}

check("lets nobody in without the name and the password, and says nothing more", async (cleanup) => {
  for (const auth of [
    undefined,
    {},
    { username: "admin", password: "wrong" },
    { username: "root", password },
    { sessionId: "" },
    { sessionId: "0123456789abcdef" },
  ]) {
    const error = await refused(auth, cleanup);
    assert.equal(error.message, "invalid credentials");
    assert.equal(error.data, undefined);
  }
});

check("shows all that there is after CONNECT, and knows a login again", async (cleanup) => {
  const socket = await client(cleanup, "alice");
  await socket.emitWithAck("subscribe:watchlist", { symbols: ["ADM.A"] });
  const first = await operator(url, login, cleanup);
  await until("all sockets came", () => found(first.seen, "all_sockets"));
  assert.deepEqual(first.early, []);
  assert.deepEqual(
    first.seen.slice(0, 3).map(([name]) => name),
    ["session", "config", "all_sockets"],
  );
  const [[, sessionId], [, config], [, sockets]] = first.seen;
  assert.deepEqual(config.supportedFeatures.toSorted(), [
    "AGGREGATED_EVENTS", "ALL_EVENTS", "DISCONNECT", "EMIT", "JOIN", "LEAVE", "MDISCONNECT",
    "MJOIN", "MLEAVE",
  ]);
  const own = sockets.find(({ id }) => id === first.socket.id);
  assert.equal(own.nsp, "/admin");
  const seen = sockets.find(({ id }) => id === socket.id);
  assert.deepEqual([seen.nsp, seen.transport, seen.data], ["/", "websocket", { userId: "alice" }]);
  assert.deepEqual(seen.rooms.toSorted(), ["quote:ADM.A", socket.id, "user:alice"].toSorted());
  assert.match(seen.clientId, /^.{12}$/);
  const { handshake } = seen;
  assert.equal(handshake.address, "127.0.0.1");
  assert.equal(handshake.headers["user-agent"], "agent of alice");
  assert.deepEqual([handshake.headers.cookie, handshake.headers.authorization], ["***", "***"]);
  assert.deepEqual([handshake.query.EIO, handshake.query.token], ["4", "***"]);
  assert.ok(Math.abs(Date.now() - handshake.issued) < 60_000 && ISO.test(handshake.time));
  assert.deepEqual([handshake.secure, handshake.xdomain], [false, false]);
  assert.match(handshake.url, /^\/socket\.io\/\?/);

  const [, stats] = await until("figures came", () => found(first.seen, "server_stats"));
  assert.equal(stats.serverId, "node-1");
  assert.ok(stats.hostname && stats.pid > 0 && stats.uptime > 0);
  assert.ok(stats.clientsCount >= 2 && stats.pollingClientsCount >= 0);
  const count = (name) => stats.namespaces.find((it) => it.name === name)?.socketsCount;
  assert.ok(count("/") >= 1 && count("/admin") >= 1);

  const again = await operator(url, { sessionId }, cleanup);
  await until("the second page is told", () => found(again.seen, "all_sockets"));
  const error = await refused({ sessionId: `${sessionId}x` }, cleanup);
  assert.equal(error.message, "invalid credentials");
});

check("tells what happens, in order, and no secrets", async (cleanup) => {
  const { seen } = await operator(url, login, cleanup);
  await until("all sockets came", () => found(seen, "all_sockets"));
  const socket = await client(cleanup, "bob", ["polling", "websocket"]);
  const { id } = socket;
  const is = (nsp, other) => nsp === "/" && other === id;
  const [, shown, at] = await until("it is connected", () =>
    found(seen, "socket_connected", (it) => it.id === id),
  );
  // Where the client is let in late, it has upgraded before.
  assert.match(shown.transport, /^(polling|websocket)$/);
  assert.match(at, ISO);
  const order = seen.map(([name, ...args]) => `${name} ${args[0].id ?? args[2]}`);
  const joined = order.indexOf(`room_joined ${id}`);
  assert.ok(joined >= 0 && joined < order.indexOf(`socket_connected ${id}`), "own room first");
  if (shown.transport === "polling") {
    await until("it moved", () =>
      found(seen, "socket_updated", (it) => it.id === id && it.transport === "websocket"),
    );
  }

  const quotes = collect(socket, "watchlist:quote");
  await socket.emitWithAck("subscribe:watchlist", { symbols: ["ADM.B"] });
  await until("it joined", () =>
    found(seen, "room_joined", (nsp, room, other) => is(nsp, other) && room === "quote:ADM.B"),
  );
  const [, , , received] = await until("it said so", () => found(seen, "event_received", is));
  assert.deepEqual(received, ["subscribe:watchlist", { symbols: ["ADM.B"] }]);
  await api("POST", "/api/v1/quotes/ADM.B", { price: 1 });
  const [, , , sent] = await until("it was told", () =>
    found(seen, "event_sent", (nsp, other, [name]) => is(nsp, other) && name === "watchlist:quote"),
  );
  assert.deepEqual(sent, ["watchlist:quote", { symbol: "ADM.B", price: 1 }]);
  await until("it has it", () => quotes.length === 1);
  await socket.emitWithAck("unsubscribe:watchlist", { symbols: ["ADM.B"] });
  await until("it left", () =>
    found(seen, "room_left", (nsp, room, other) => is(nsp, other) && room === "quote:ADM.B"),
  );
  socket.disconnect();
  const [, , , reason] = await until("it is gone", () => found(seen, "socket_disconnected", is));
  assert.equal(reason, "client namespace disconnect");
  for (const room of [id, "user:bob"]) {
    assert.ok(found(seen, "room_left", (nsp, left, other) => is(nsp, other) && left === room), room);
  }
  assert.ok(!found(seen, "event_sent", (nsp) => nsp === "/admin"), "no echo");
  const text = JSON.stringify(seen);
  for (const secret of SECRETS) assert.ok(!text.includes(secret), secret);
  assert.ok(!text.includes(socket.io.engine.id ?? "no id"), "the connection's id");
});

check("emits, moves and disconnects sockets", async (cleanup) => {
  const { socket: admin } = await operator(url, login, cleanup);
  const [one, two] = [await client(cleanup, "carol"), await client(cleanup, "carol")];
  const came = [once(one, "hello"), once(two, "hello")];
  admin.emit("join", "/", "carols", one.id);
  admin.emit("join", "/", "carols", two.id);
  const members = () => api("GET", "/api/v1/rooms/carols");
  await until("both are in", async () => (await members()).count === 2);
  admin.emit("emit", "/", "carols", "hello", 1, { two: 2 });
  for (const args of await Promise.all(came)) assert.deepEqual(args.slice(0, 2), [1, { two: 2 }]);
  const alone = once(one, "alone");
  const others = collect(two, "alone");
  admin.emit("emit", "/", one.id, "alone");
  await alone;
  assert.equal(others.length, 0);
  admin.emit("leave", "/", "carols", one.id);
  await until("one is out", async () => (await members()).count === 1);
  const left = once(two, "disconnect");
  admin.emit("_disconnect", "/", false, "carols");
  assert.equal((await left)[0], "io server disconnect");
  assert.ok(one.connected);
  const closed = once(one, "disconnect");
  admin.emit("_disconnect", "/", true, one.id);
  await closed;
  await until("it may come without a filter, to everybody", async () => {
    const three = await client(cleanup, "dave");
    const hello = once(three, "everybody");
    admin.emit("emit", "/", undefined, "everybody", "x");
    return (await hello)[0] === "x";
  });
});

async function api(method, path, body) {
  const response = await fetch(process.env.TIDINGS_API + path, {
    method,
    headers: {
      authorization: `Bearer ${process.env.TIDINGS_API_KEY}`,
      "content-type": "application/json",
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  assert.ok(response.ok, `${method} ${path}: ${response.status}`);
  return response.json().catch(() => null);
}

await runChecks();

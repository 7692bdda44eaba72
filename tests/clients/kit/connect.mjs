import assert from "node:assert/strict";
import { check, once, sleep } from "../lib/check.mjs";
import { client, connected, control, settled, token, upgrades, url } from "../lib/kit.mjs";

check("connects over the transports asked for", async (cleanup) => {
  const socket = await connected(cleanup);
  assert.equal(socket.io.engine.transport.name, settled);
  assert.ok(socket.id);
  assert.notEqual(socket.id, socket.io.engine.id);
  assert.equal(socket.recovered, false);
});

check(
  "serves while it upgrades",
  async (cleanup) => {
    const socket = client(cleanup);
    await once(socket, "connect");
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, n) => socket.emitWithAck("echo", n)),
    );
    assert.deepEqual(answers, Array.from({ length: 50 }, (_, n) => n));
  },
  { when: upgrades },
);

check("is refused with message and data by a middleware, and stays away", async (cleanup) => {
  const socket = client(cleanup, "/kit", { auth: { token: "wrong" } });
  let attempts = 0;
  socket.io.on("reconnect_attempt", () => (attempts += 1));
  const [error] = await once(socket, "connect_error");
  assert.equal(error.message, "not authorized");
  assert.deepEqual(error.data, { code: 401, content: "bad token" });
  assert.equal(socket.active, false);
  await sleep(800);
  assert.equal(attempts, 0);
  assert.equal(socket.connected, false);
});

check("may try again with other credentials", async (cleanup) => {
  const socket = client(cleanup, "/kit", { auth: {} });
  await once(socket, "connect_error");
  socket.auth = token;
  socket.connect();
  await once(socket, "connect");
});

check("is refused in an unknown namespace", async (cleanup) => {
  for (const namespace of ["/unknown", "/dyn-", "/dyn-a-b", "/kit/x", "/KIT"]) {
    const socket = client(cleanup, namespace);
    const [error] = await once(socket, "connect_error");
    assert.equal(error.message, "Invalid namespace", namespace);
    assert.equal(error.data, undefined, namespace);
  }
});

check("joins dynamic namespaces", async (cleanup) => {
  for (const namespace of ["/dyn-1", "/dyn-Some_Name9"]) {
    const socket = await connected(cleanup, namespace);
    assert.equal(await socket.emitWithAck("echo", namespace), namespace);
  }
});

check("holds several namespaces on one connection", async (cleanup) => {
  const main = client(cleanup, "/");
  const kit = main.io.socket("/kit", { auth: token });
  const dynamic = main.io.socket("/dyn-multi");
  cleanup(() => [kit, dynamic].forEach((socket) => socket.disconnect()));
  await Promise.all([main, kit, dynamic].map((socket) => socket.connected || once(socket, "connect")));
  assert.equal(new Set([main.id, kit.id, dynamic.id, main.io.engine.id]).size, 4);
  for (const socket of [main, kit, dynamic]) assert.equal(await socket.emitWithAck("echo", 7), 7);
  const engines = new Set();
  for (const [nsp, socket] of [["/", main], ["/kit", kit], ["/dyn-multi", dynamic]]) {
    engines.add((await control("local", { nsp })).find(({ id }) => id === socket.id).engine);
  }
  assert.equal(engines.size, 1);
});

check("stays connected through heartbeats", async (cleanup) => {
  const socket = await connected(cleanup);
  let drops = 0;
  socket.on("disconnect", () => (drops += 1));
  await sleep(4000);
  assert.equal(drops, 0);
  assert.equal(await socket.emitWithAck("echo", "alive"), "alive");
});

check("answers a browser of any origin, with credentials", async () => {
  const origin = "https://app.example";
  const target = `${url}/socket.io/?EIO=4&transport=polling`;
  const opened = await fetch(target, { headers: { origin } });
  assert.equal(opened.status, 200);
  assert.equal(opened.headers.get("access-control-allow-origin"), origin);
  assert.equal(opened.headers.get("access-control-allow-credentials"), "true");
  assert.match(opened.headers.get("vary") ?? "", /origin/i);
  await opened.text();
  const preflight = await fetch(target, {
    method: "OPTIONS",
    headers: {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "content-type",
    },
  });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get("access-control-allow-origin"), origin);
});

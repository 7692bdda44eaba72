import assert from "node:assert/strict";
import { check, once, sleep, until } from "../lib/check.mjs";
import { client, connected, control, goneReason, settled, token } from "../lib/kit.mjs";

check("that leaves by itself is seen to", async (cleanup) => {
  const socket = await connected(cleanup);
  const { id } = socket;
  const gone = once(socket, "disconnect");
  socket.disconnect();
  assert.equal((await gone)[0], "io client disconnect");
  const reason = await until("the server saw it", () => goneReason(id));
  assert.equal(reason, "client namespace disconnect");
});

check("kicked from a namespace keeps its others, and stays away", async (cleanup) => {
  const main = await connected(cleanup, "/");
  const kit = main.io.socket("/kit", { auth: token });
  cleanup(() => kit.disconnect());
  await once(kit, "connect");
  const { id } = kit;
  const gone = once(kit, "disconnect");
  await control("kick", { rooms: [id], mode: "namespace" });
  assert.equal((await gone)[0], "io server disconnect");
  assert.equal(kit.active, false);
  assert.equal(await goneReason(id), "server namespace disconnect");
  await sleep(800);
  assert.equal(kit.connected, false);
  assert.equal(await main.emitWithAck("echo", "still"), "still");
});

check("kicked for good loses the connection, and stays away", async (cleanup) => {
  const socket = await connected(cleanup);
  const { id } = socket;
  const gone = once(socket, "disconnect");
  await control("kick", { rooms: [id], mode: "close" });
  assert.equal((await gone)[0], "io server disconnect");
  assert.equal(await goneReason(id), "server namespace disconnect");
  await sleep(800);
  assert.equal(socket.connected, false);
});

check("cut off by the server comes back", async (cleanup) => {
  const socket = await connected(cleanup);
  const { id } = socket;
  const gone = once(socket, "disconnect");
  await control("kick", { rooms: [id], mode: "engine" });
  assert.equal((await gone)[0], "transport close");
  assert.equal(await until("the server saw it", () => goneReason(id)), "forced close");
  assert.equal(socket.active, true);
  await once(socket, "connect");
  assert.equal(await socket.emitWithAck("echo", 1), 1);
});

check(
  "that loses its stream is seen to, and comes back",
  async (cleanup) => {
    const socket = await connected(cleanup);
    const { id } = socket;
    const gone = once(socket, "disconnect");
    socket.io.engine.transport.ws.close();
    assert.equal((await gone)[0], "transport close");
    assert.equal(await until("the server saw it", () => goneReason(id)), "transport close");
    await once(socket, "connect");
  },
  { when: settled === "websocket" },
);

check("that falls silent is dropped for it", async (cleanup) => {
  const socket = await connected(cleanup);
  const { id } = socket;
  const { engine } = socket.io;
  const send = engine._sendPacket;
  engine._sendPacket = function (type, ...rest) {
    if (type !== "pong") send.call(this, type, ...rest);
  };
  const began = Date.now();
  const reason = await until("the server gave up", () => goneReason(id));
  assert.equal(reason, "ping timeout");
  // A ping is due within 1 s of the connection, its answer 2 s later.
  assert.ok(Date.now() - began < 8000);
});

check("may be in two namespaces and leave one", async (cleanup) => {
  const main = client(cleanup, "/");
  await once(main, "connect");
  const other = main.io.socket("/dyn-leave");
  cleanup(() => other.disconnect());
  await once(other, "connect");
  other.disconnect();
  assert.equal(await main.emitWithAck("echo", 1), 1);
  other.connect();
  await once(other, "connect");
  assert.equal(await other.emitWithAck("echo", 2), 2);
});

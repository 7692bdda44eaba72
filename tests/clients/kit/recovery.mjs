import assert from "node:assert/strict";
import { check, collect, once, sleep, until } from "../lib/check.mjs";
import { client, connected, control, goneReason, unique } from "../lib/kit.mjs";

/**
 * Drops the connection as a bad network does, and waits until the server knows. It stays away until
 * it is let back, so that what is sent meanwhile is missed however slow the machine is.
 */
async function drop(socket) {
  const { id } = socket;
  socket.io.reconnection(false);
  const times = async () => (await control("gone")).filter((gone) => gone.id === id).length;
  const before = await times();
  const gone = once(socket, "disconnect");
  socket.io.engine.close();
  await gone;
  await until("the server saw it", async () => (await times()) > before);
}

async function letBack(socket) {
  const back = once(socket, "connect");
  socket.io.reconnection(true);
  socket.connect();
  await back;
}

/** The reference recovers only a client that received something. */
async function receiveOne(socket) {
  const came = once(socket, "some-event");
  await emit(socket.id, "some-event", 1);
  await came;
}

const emit = (room, event, ...args) => control("emit", { rooms: [room], event, args });

check("recovers what it missed, once and in order, three times over", async (cleanup) => {
  const socket = await connected(cleanup);
  const { id } = socket;
  const [room, event] = [unique("room"), unique("event")];
  const seen = collect(socket, event);
  await control("join", { rooms: [id], join: [room] });
  let next = 0;
  const emitSome = async (count) => {
    for (const last = next + count; next < last; next += 1) await emit(room, event, next);
  };
  await emitSome(2);
  await until("the first came", () => seen.length === next);
  for (let round = 0; round < 3; round += 1) {
    await drop(socket);
    await emitSome(5);
    await letBack(socket);
    assert.equal(socket.recovered, true, `round ${round}`);
    assert.equal(socket.id, id);
    await emitSome(1);
    await until("all came", () => seen.length >= next);
    assert.deepEqual(seen.map(([n]) => n), Array.from({ length: next }, (_, n) => n));
    const local = (await control("local")).find((found) => found.id === id);
    assert.equal(local.recovered, true);
    assert.ok(local.rooms.includes(room));
  }
  await sleep(100);
  assert.equal(seen.length, next);
});

check("recovers attachments and emits to all", async (cleanup) => {
  const socket = await connected(cleanup);
  const { id } = socket;
  const event = unique("event");
  const seen = collect(socket, event);
  await emit(id, event, "first");
  await until("it came", () => seen.length === 1);
  await drop(socket);
  await emit(id, event, { $b64: "AAEC" });
  await control("emit", { rooms: [], event, args: ["everybody"] });
  await letBack(socket);
  await until("both came", () => seen.length === 3);
  assert.equal(socket.recovered, true);
  assert.deepEqual([...Buffer.from(seen[1][0])], [0, 1, 2]);
  assert.equal(seen[2][0], "everybody");
});

check("recovers neither volatile events nor those of rooms it was not in", async (cleanup) => {
  const socket = await connected(cleanup);
  const { id } = socket;
  const event = unique("event");
  const seen = collect(socket, event);
  await emit(id, event, "first");
  await until("it came", () => seen.length === 1);
  await drop(socket);
  await control("emit", { rooms: [id], flags: { volatile: true }, event, args: ["volatile"] });
  await emit(unique("elsewhere"), event, "elsewhere");
  await control("emit", { rooms: [], except: [id], event, args: ["not for it"] });
  await emit(id, event, "last");
  await letBack(socket);
  await until("the last came", () => seen.some(([arg]) => arg === "last"));
  assert.deepEqual(seen.map(([arg]) => arg), ["first", "last"]);
});

check("recovers its own replies too", async (cleanup) => {
  const socket = await connected(cleanup);
  socket.emit("echo-back", 1);
  await once(socket, "echo-back");
  await drop(socket);
  await letBack(socket);
  assert.equal(socket.recovered, true);
  assert.equal(await socket.emitWithAck("echo", 2), 2);
});

check("starts anew after it left by itself", async (cleanup) => {
  const socket = await connected(cleanup);
  const { id } = socket;
  await receiveOne(socket);
  socket.disconnect();
  await until("the server saw it", () => goneReason(id));
  socket.connect();
  await once(socket, "connect");
  assert.equal(socket.recovered, false);
  assert.notEqual(socket.id, id);
});

check("starts anew after it was kicked", async (cleanup) => {
  const socket = await connected(cleanup);
  const { id } = socket;
  await receiveOne(socket);
  const gone = once(socket, "disconnect");
  await control("kick", { rooms: [id], mode: "namespace" });
  await gone;
  socket.connect();
  await once(socket, "connect");
  assert.equal(socket.recovered, false);
  assert.notEqual(socket.id, id);
});

check("starts anew with a private id that nobody knows", async (cleanup) => {
  const auth = { token: "secret", pid: "nobodys", offset: "nothing" };
  const socket = client(cleanup, "/kit", { auth });
  await once(socket, "connect");
  assert.equal(socket.recovered, false);
  assert.equal(await socket.emitWithAck("echo", 1), 1);
});

import assert from "node:assert/strict";
import { check, collect, once, until } from "../lib/check.mjs";
import { connected, settled } from "../lib/kit.mjs";

const values = [
  null,
  true,
  0,
  -1.5,
  1e21,
  "",
  "text",
  "é€😀\u2028\u0000\"\\",
  [],
  {},
  [1, [2, [3]]],
  { z: 1, a: { y: null, b: [true] } },
  { _placeholder: false, num: 0 },
];

check("gets each kind of value back in an acknowledgement", async (cleanup) => {
  const socket = await connected(cleanup);
  const got = await new Promise((done) => socket.emit("echo", ...values, (...args) => done(args)));
  assert.deepEqual(got, values);
});

check("gets each kind of value back in an event", async (cleanup) => {
  const socket = await connected(cleanup);
  socket.emit("echo-back", ...values);
  const got = await once(socket, "echo-back");
  // Where recovery is on, an offset follows the arguments.
  assert.deepEqual(got.slice(0, values.length), values);
  assert.ok(got.length <= values.length + 1);
});

check("gets an acknowledgement without arguments", async (cleanup) => {
  const socket = await connected(cleanup);
  const got = await new Promise((done) => socket.emit("echo", (...args) => done(args)));
  assert.deepEqual(got, []);
});

check("gets attachments back, wherever they stand", async (cleanup) => {
  const socket = await connected(cleanup);
  const bytes = Buffer.from([0, 1, 127, 128, 255]);
  const sent = [bytes, { deep: [{ er: new Uint8Array([7, 8]) }], plain: 1 }, Buffer.alloc(0)];
  const [first, second, third] = await new Promise((done) =>
    socket.emit("echo", ...sent, (...args) => done(args)),
  );
  assert.deepEqual(Buffer.from(first), bytes);
  assert.deepEqual([...second.deep[0].er], [7, 8]);
  assert.equal(second.plain, 1);
  assert.equal(third.length ?? third.byteLength, 0);
  socket.emit("echo-back", bytes);
  const [back] = await once(socket, "echo-back");
  assert.deepEqual(Buffer.from(back), bytes);
});

check("gets ten attachments back in order", async (cleanup) => {
  const socket = await connected(cleanup);
  const sent = Array.from({ length: 10 }, (_, n) => Buffer.from([n]));
  const got = await new Promise((done) => socket.emit("echo", ...sent, (...args) => done(args)));
  assert.deepEqual(got.map((bytes) => [...bytes]), sent.map((bytes) => [...bytes]));
});

check("has its acknowledgements told apart", async (cleanup) => {
  const socket = await connected(cleanup);
  const numbers = Array.from({ length: 200 }, (_, n) => n);
  assert.deepEqual(await Promise.all(numbers.map((n) => socket.emitWithAck("echo", n))), numbers);
});

check("gets events in the order in which it sent them", async (cleanup) => {
  const socket = await connected(cleanup);
  const seen = collect(socket, "echo-back");
  for (let n = 0; n < 300; n += 1) socket.emit("echo-back", n);
  await until("all came back", () => seen.length === 300);
  assert.deepEqual(seen.map(([n]) => n), Array.from({ length: 300 }, (_, n) => n));
});

check("carries half a megabyte of text and of bytes", async (cleanup) => {
  const socket = await connected(cleanup);
  const text = "é".repeat(250_000);
  assert.ok((await socket.emitWithAck("echo", text)) === text);
  // Base64 in a poll makes bytes a third longer.
  const bytes = Buffer.alloc(500_000, 7);
  assert.ok(bytes.equals(Buffer.from(await socket.emitWithAck("echo", bytes))));
});

check("is dropped for a payload beyond the limit, and comes back", async (cleanup) => {
  const socket = await connected(cleanup);
  socket.emit("echo", "a".repeat(1_100_000));
  const [reason] = await once(socket, "disconnect");
  assert.equal(reason, settled === "websocket" ? "transport close" : "transport error");
  await once(socket, "connect");
  assert.equal(await socket.emitWithAck("echo", 1), 1);
});

check("times out where no acknowledgement comes", async (cleanup) => {
  const socket = await connected(cleanup);
  await assert.rejects(socket.timeout(200).emitWithAck("never-ack", 1), /operation has timed out/);
  assert.equal(await socket.emitWithAck("echo", 1), 1);
});

check("may send volatile events", async (cleanup) => {
  const socket = await connected(cleanup);
  socket.volatile.emit("echo-back", "volatile");
  const [got] = await once(socket, "echo-back");
  assert.equal(got, "volatile");
});

check("sends what it buffered before it was connected", async (cleanup) => {
  const socket = await connected(cleanup);
  socket.disconnect();
  const answer = socket.emitWithAck("echo", "early");
  socket.connect();
  assert.equal(await answer, "early");
});

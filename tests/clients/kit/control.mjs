import assert from "node:assert/strict";
import { check, collect, once, sleep, until } from "../lib/check.mjs";
import { connected, control, isAlone, nodes, settled, token, unique } from "../lib/kit.mjs";

const clients = (cleanup, count, namespace) =>
  Promise.all(Array.from({ length: count }, () => connected(cleanup, namespace)));

check("is reached by its id, which is a room", async (cleanup) => {
  const [one, two] = await clients(cleanup, 2);
  const event = unique("news");
  const others = collect(two, event);
  const came = once(one, event);
  const answer = await control("emit", { rooms: [one.id], event, args: [1, { two: [3] }] });
  assert.deepEqual(answer, { ok: true });
  assert.deepEqual((await came).slice(0, 2), [1, { two: [3] }]);
  await sleep(100);
  assert.equal(others.length, 0);
});

check("is reached with everybody else of its namespace", async (cleanup) => {
  const sockets = await clients(cleanup, 3);
  const [elsewhere] = await clients(cleanup, 1, "/");
  const event = unique("all");
  const leaked = collect(elsewhere, event);
  const came = Promise.all(sockets.map((socket) => once(socket, event)));
  await control("emit", { rooms: [], event, args: ["x"] });
  for (const [arg] of await came) assert.equal(arg, "x");
  await sleep(100);
  assert.equal(leaked.length, 0);
});

check("is reached in a room from joining to leaving, once", async (cleanup) => {
  const [one, two] = await clients(cleanup, 2);
  const [room, event] = [unique("room"), unique("event")];
  const [got, others] = [collect(one, event), collect(two, event)];
  await control("join", { rooms: [one.id], join: [room, `${room}-too`] });
  await control("emit", { rooms: [room, `${room}-too`], event, args: [1] });
  await until("it came", () => got.length === 1);
  await control("leave", { rooms: [room], leave: [room] });
  await control("emit", { rooms: [room], event, args: [2] });
  await control("emit", { rooms: [`${room}-too`], event, args: [3] });
  await until("the last came", () => got.length === 2);
  assert.deepEqual(got.map(([n]) => n), [1, 3]);
  assert.equal(others.length, 0);
});

check("is spared as an exception", async (cleanup) => {
  const [one, two] = await clients(cleanup, 2);
  const [room, event] = [unique("room"), unique("event")];
  await control("join", { rooms: [one.id, two.id], join: [room] });
  const [spared, reached] = [collect(one, event), collect(two, event)];
  await control("emit", { rooms: [room], except: [one.id], event, args: [1] });
  await until("the other got it", () => reached.length === 1);
  await sleep(100);
  assert.equal(spared.length, 0);
});

check("gets attachments from a broadcast", async (cleanup) => {
  const [one] = await clients(cleanup, 1);
  const event = unique("binary");
  const came = once(one, event);
  const bytes = Buffer.from([0, 200, 255]);
  const args = [{ nested: { $b64: bytes.toString("base64") } }, { $b64: "" }];
  await control("emit", { rooms: [one.id], event, args });
  const [first, second] = await came;
  assert.deepEqual(Buffer.from(first.nested), bytes);
  assert.equal(second.length ?? second.byteLength, 0);
});

check("gets emits in their order", async (cleanup) => {
  const [one] = await clients(cleanup, 1);
  const event = unique("ordered");
  const seen = collect(one, event);
  for (let n = 0; n < 100; n += 1) {
    await control("emit", { rooms: [one.id], event, args: [n] }, nodes.at(-1));
  }
  await until("all came", () => seen.length === 100);
  assert.deepEqual(seen.map(([n]) => n), Array.from({ length: 100 }, (_, n) => n));
});

check("gets volatile and local emits while it can take them", async (cleanup) => {
  const [one] = await clients(cleanup, 1);
  const event = unique("volatile");
  const seen = collect(one, event);
  await until("one of them came", async () => {
    // Over polling one is dropped that finds no poll waiting.
    await control("emit", { rooms: [one.id], flags: { volatile: true }, event, args: ["v"] });
    return seen.length > 0;
  });
  // What ends in a string may carry one more argument, so that it is not taken for an offset.
  assert.equal(seen[0][0], "v");
  await control("emit", { rooms: [one.id], flags: { local: true }, event, args: ["l"] });
  await until("the local one came", () => seen.some(([arg]) => arg === "l"));
}, { when: isAlone });

check("is asked, with all others of a room", async (cleanup) => {
  const sockets = await clients(cleanup, 3);
  const [room, event] = [unique("room"), unique("question")];
  await control("join", { rooms: sockets.map(({ id }) => id), join: [room] });
  sockets.forEach((socket, n) => {
    socket.on(event, (...args) => args.pop()({ n, got: args[0] }));
  });
  const answer = await control("ask", { rooms: [room], event, args: ["q"], timeout: 5000 });
  assert.equal(answer.err, null);
  const byNumber = answer.responses.toSorted((a, b) => a.n - b.n);
  assert.deepEqual(byNumber, [0, 1, 2].map((n) => ({ n, got: "q" })));
});

check("that does not answer leaves the others' answers", async (cleanup) => {
  const [one, two] = await clients(cleanup, 2);
  const [room, event] = [unique("room"), unique("question")];
  await control("join", { rooms: [one.id, two.id], join: [room] });
  one.on(event, (...args) => args.pop()("here"));
  const answer = await control("ask", { rooms: [room], event, args: [], timeout: 500 });
  assert.deepEqual(answer, { err: "operation has timed out", responses: ["here"] });
});

check("is not waited for where nobody is", async () => {
  const rooms = [unique("empty")];
  const answer = await control("ask", { rooms, event: "x", args: [], timeout: 5000 });
  assert.deepEqual(answer, { err: null, responses: [] });
});

check("answers with attachments", async (cleanup) => {
  const [one] = await clients(cleanup, 1);
  const event = unique("question");
  one.on(event, (...args) => args.pop()(Buffer.from([1, 2])));
  const answer = await control("ask", { rooms: [one.id], event, args: [], timeout: 5000 });
  assert.deepEqual(answer, { err: null, responses: [{ $b64: "AQI=" }] });
});

check("is listed with its handshake and rooms", async (cleanup) => {
  const socket = await connected(cleanup, "/kit", {
    query: { from: "driver" },
    extraHeaders: { "x-from": "driver" },
  });
  const room = unique("room");
  await control("join", { rooms: [socket.id], join: [room] });
  const [found, ...more] = await control("sockets", { rooms: [room] });
  assert.deepEqual(more, []);
  assert.equal(found.id, socket.id);
  assert.deepEqual(found.rooms.toSorted(), [socket.id, room].toSorted());
  assert.deepEqual(found.data, {});
  assert.deepEqual(found.handshake.auth, token);
  assert.equal(found.handshake.query.from, "driver");
  assert.equal(found.handshake.query.EIO, "4");
  assert.equal(found.handshake.headers["x-from"], "driver");
  assert.match(found.handshake.url, /^\/socket\.io\/\?/);
  const all = await control("sockets", { rooms: [] });
  assert.ok(all.some(({ id }) => id === socket.id));
});

check("is listed as a connection of this node", async (cleanup) => {
  const [socket] = await clients(cleanup, 1);
  const found = (await control("local")).find(({ id }) => id === socket.id);
  assert.equal(found.recovered, false);
  assert.deepEqual(found.rooms, [socket.id]);
  assert.equal(found.transport, settled);
  assert.equal(found.engine, socket.io.engine.id);
}, { when: isAlone });

check("makes its rooms known, and takes them with it", async (cleanup) => {
  const [socket] = await clients(cleanup, 1);
  const [id, room] = [socket.id, unique("room")];
  await control("join", { rooms: [id], join: [room] });
  const names = await control("rooms");
  assert.ok(names.includes(room) && names.includes(id), `${names}`);
  socket.disconnect();
  await until("they are gone", async () => {
    const names = await control("rooms");
    return !names.includes(room) && !names.includes(id);
  });
});

check("lives on one node that heard nothing from others", async () => {
  assert.equal(await control("count"), 1);
  assert.deepEqual(await control("server-side-got"), []);
}, { when: isAlone });

// What one node of several knows and does for all: asked on one, seen on the others.
import assert from "node:assert/strict";
import { check, collect, once, sleep, until } from "../lib/check.mjs";
import { connected, control, nodes, unique } from "../lib/kit.mjs";

/** A client on each node, in their order. */
const clients = (cleanup, namespace) =>
  Promise.all(nodes.map((node) => connected(cleanup, namespace, { node })));

const ids = (sockets) => sockets.map(({ id }) => id).toSorted();

check("knows how many nodes there are", async () => {
  for (const node of nodes) assert.equal(await control("count", {}, node), nodes.length);
});

check("emits to everybody on all nodes, or on its own only", async (cleanup) => {
  const sockets = await clients(cleanup);
  for (const [at, node] of nodes.entries()) {
    const [all, own] = [unique("all"), unique("own")];
    const seen = sockets.map((socket) => [collect(socket, all), collect(socket, own)]);
    await control("emit", { flags: { local: true }, event: own, args: [1] }, node);
    await control("emit", { event: all, args: [2] }, node);
    // What comes after the local one says that that one is not on its way any more.
    await until("all have it", () => seen.every(([got]) => got.length === 1));
    assert.deepEqual(seen.map(([, got]) => got.length), nodes.map((_, n) => (n === at ? 1 : 0)));
  }
});

check("volatile emits reach the other nodes", async (cleanup) => {
  const sockets = await clients(cleanup);
  const event = unique("volatile");
  const seen = sockets.map((socket) => collect(socket, event));
  await until("all got one", async () => {
    await control("emit", { flags: { volatile: true }, event, args: [1] }, nodes[0]);
    return seen.every((got) => got.length > 0);
  });
});

check("makes sockets of all nodes join and leave", async (cleanup) => {
  const sockets = await clients(cleanup);
  const [room, more, event] = [unique("room"), unique("more"), unique("event")];
  const rooms = sockets.map(({ id }) => id);
  const seen = sockets.map((socket) => collect(socket, event));
  await control("join", { rooms, join: [room] }, nodes[0]);
  await control("join", { rooms: [room], except: [rooms[0]], join: [more] }, nodes[1]);
  for (const node of nodes) {
    assert.deepEqual(ids(await control("sockets", { rooms: [room] }, node)), rooms.toSorted());
    const found = await control("sockets", { rooms: [more] }, node);
    assert.deepEqual(ids(found), rooms.slice(1).toSorted());
    const names = await control("rooms", {}, node);
    assert.ok([room, more, ...rooms].every((name) => names.includes(name)), `${names}`);
  }
  // Whoever was told that they joined can count on it, on any node.
  await control("emit", { rooms: [more], event, args: [1] }, nodes[2]);
  await control("emit", { rooms: [room], except: [more], event, args: [2] }, nodes[2]);
  await until("all got theirs", () => seen.every((got) => got.length === 1));
  assert.deepEqual(seen.map(([[n]]) => n), [2, 1, 1]);
  await control("leave", { rooms: [room], leave: [room, more] }, nodes[2]);
  for (const node of nodes) {
    assert.deepEqual(await control("sockets", { rooms: [room] }, node), []);
    assert.ok(!(await control("rooms", {}, node)).includes(room));
  }
});

check("what was just joined on another node is reached at once", async (cleanup) => {
  const sockets = await clients(cleanup);
  const event = unique("event");
  const seen = sockets.map((socket) => collect(socket, event));
  for (let n = 0; n < 30; n += 1) {
    const room = unique("room");
    await control("join", { rooms: sockets.map(({ id }) => id), join: [room] }, nodes[n % 3]);
    await control("emit", { rooms: [room], event, args: [n] }, nodes[(n + 1) % 3]);
    await until("all have it", () => seen.every((got) => got.length === n + 1));
  }
});

check("lists sockets of all nodes with their handshakes", async (cleanup) => {
  const room = unique("room");
  const sockets = await Promise.all(
    nodes.map((node, at) => connected(cleanup, "/kit", { node, query: { at: `${at}` } })),
  );
  await control("join", { rooms: sockets.map(({ id }) => id), join: [room] });
  for (const node of nodes) {
    const found = await control("sockets", { rooms: [room] }, node);
    const places = found.map(({ id, handshake }) => [id, handshake.query.at]);
    const wanted = sockets.map(({ id }, at) => [id, `${at}`]);
    assert.deepEqual(places.toSorted(), wanted.toSorted());
  }
});

check("disconnects sockets of other nodes", async (cleanup) => {
  for (const mode of ["namespace", "close"]) {
    const sockets = await clients(cleanup);
    const room = unique("room");
    await control("join", { rooms: sockets.map(({ id }) => id), join: [room] }, nodes[2]);
    const gone = Promise.all(sockets.map((socket) => once(socket, "disconnect")));
    await control("kick", { rooms: [room], mode }, nodes[0]);
    for (const [reason] of await gone) assert.equal(reason, "io server disconnect");
    assert.deepEqual(await control("sockets", { rooms: [room] }, nodes[1]), []);
  }
});

check("collects acknowledgements from all nodes, with attachments", async (cleanup) => {
  const sockets = await clients(cleanup);
  const [room, event] = [unique("room"), unique("question")];
  await control("join", { rooms: sockets.map(({ id }) => id), join: [room] }, nodes[0]);
  sockets.forEach((socket, n) => socket.on(event, (...args) => args.pop()(Buffer.from([n]))));
  for (const node of nodes) {
    const answer = await control("ask", { rooms: [room], event, args: [], timeout: 5000 }, node);
    assert.equal(answer.err, null);
    const bytes = answer.responses.map(({ $b64 }) => Buffer.from($b64, "base64")[0]);
    assert.deepEqual(bytes.toSorted(), [0, 1, 2]);
  }
});

check("gives the answers that there are when time is over", async (cleanup) => {
  const sockets = await clients(cleanup);
  const [room, event] = [unique("room"), unique("question")];
  await control("join", { rooms: sockets.map(({ id }) => id), join: [room] }, nodes[0]);
  sockets.slice(1).forEach((socket, n) => socket.on(event, (...args) => args.pop()(n)));
  const began = Date.now();
  const ask = { rooms: [room], event, args: [], timeout: 600 };
  const answer = await control("ask", ask, nodes[1]);
  const took = Date.now() - began;
  assert.deepEqual([answer.err, answer.responses.toSorted()], ["operation has timed out", [0, 1]]);
  assert.ok(took >= 600 && took < 3000, `${took} ms`);
});

check("does not wait for acknowledgements where nobody is", async () => {
  const began = Date.now();
  const ask = { rooms: [unique("empty")], event: "x", args: [], timeout: 5000 };
  assert.deepEqual(await control("ask", ask), { err: null, responses: [] });
  assert.ok(Date.now() - began < 1000);
});

check("sends events to the servers of the other nodes, not its own", async () => {
  const event = unique("server-event");
  await control("server-side-emit", { event, args: [1, { two: 2 }] }, nodes[0]);
  const got = async (node) => {
    const events = await control("server-side-got", {}, node);
    return events.filter((it) => it.event === event);
  };
  for (const node of nodes.slice(1)) {
    await until("it came", async () => (await got(node)).length > 0);
    assert.deepEqual(await got(node), [{ event, args: [1, { two: 2 }] }]);
  }
  await sleep(100);
  assert.deepEqual(await got(nodes[0]), []);
});

check("collects the answers of the other servers", async () => {
  const ask = { event: "hello-cluster", args: ["x"], ack: true };
  const { err, responses } = await control("server-side-emit", ask, nodes[1]);
  assert.equal(err, null);
  assert.equal(new Set(responses.map(({ server }) => server)).size, nodes.length - 1);
  for (const { got } of responses) assert.deepEqual(got, ["x"]);
});

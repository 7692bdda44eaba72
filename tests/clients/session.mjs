// A trading dashboard's use of a node, with the unmodified socket.io-client:
//   TIDINGS_SESSION='{"sessionID":…,"userId":…}' TIDINGS_API=http://… TIDINGS_API_KEY=… \
//     node session.mjs URL --transports websocket | polling | polling,websocket
import assert from "node:assert/strict";
import { check, collect, once, runChecks, sleep, until } from "./lib/check.mjs";
import { api, auth, client, emit } from "./lib/session.mjs";

const user = auth.userId;

async function connected(cleanup, overrides) {
  const socket = client(overrides);
  cleanup(() => socket.disconnect());
  await Promise.race([
    once(socket, "connect"),
    once(socket, "connect_error").then(([error]) => Promise.reject(error)),
  ]);
  return socket;
}

check("connects and is reached as its user and by its id", async (cleanup) => {
  const socket = await connected(cleanup);
  const came = once(socket, "by-user");
  await emit({ user, event: "by-user", data: { n: 1 } });
  assert.deepEqual((await came)[0], { n: 1 });
  const direct = once(socket, "by-id");
  await emit({ room: socket.id, event: "by-id", args: [1, "two"] });
  assert.deepEqual((await direct).slice(0, 2), [1, "two"]);
});

check("subscribes, and gets portfolio and trades", async (cleanup) => {
  const socket = await connected(cleanup);
  for (const channel of ["portfolio", "trades"]) {
    const answer = await socket.emitWithAck(`subscribe:${channel}`);
    assert.equal(answer.ok, true, JSON.stringify(answer));
  }
  const portfolio = once(socket, "portfolio:updated");
  await api("POST", `/api/v1/users/${user}/portfolio`, { cash: 1 });
  assert.deepEqual((await portfolio)[0], { cash: 1 });
  const trade = once(socket, "trade:executed");
  await api("POST", `/api/v1/users/${user}/trades/executed`, { id: 9 });
  assert.deepEqual((await trade)[0], { id: 9 });
});

check("watches quotes until it unsubscribes", async (cleanup) => {
  const socket = await connected(cleanup);
  const quotes = collect(socket, "watchlist:quote");
  const [symbol, other] = [`JS.${process.pid}`, `JS.${process.pid}.B`];
  const symbols = [symbol.toLowerCase(), other];
  const answer = await socket.emitWithAck("subscribe:watchlist", { symbols });
  assert.deepEqual(answer.joined, [symbol, other]);
  await api("POST", `/api/v1/quotes/${symbol}`, { price: 3 });
  await until("the quote came", () => quotes.length === 1);
  assert.deepEqual(quotes[0][0], { symbol, price: 3 });
  await socket.emitWithAck("unsubscribe:watchlist", { symbols: [symbol] });
  await api("POST", `/api/v1/quotes/${symbol}`, { price: 4 });
  await sleep(400);
  assert.equal(quotes.length, 1);
});

check("answers when it is asked", async (cleanup) => {
  const socket = await connected(cleanup);
  socket.on("question", (...args) => args.pop()({ got: args[0] }));
  const answer = await emit({
    room: socket.id,
    event: "question",
    args: ["q"],
    ack: { timeoutMs: 5000 },
  });
  assert.ok(JSON.stringify(answer.responses).includes('{"got":"q"}'), JSON.stringify(answer));
  assert.deepEqual(answer.missing, []);
});

for (const [name, wrong, code] of [
  ["no credentials", {}, "missing_credentials"],
  ["an invalid session", { sessionID: "nobodys", userId: user }, "invalid_session"],
  ["another's session", { ...auth, userId: "mallory" }, "user_mismatch"],
]) {
  check(`stays away with ${name}`, async (cleanup) => {
    const socket = client({ auth: wrong });
    cleanup(() => socket.disconnect());
    let attempts = 0;
    socket.io.on("reconnect_attempt", () => (attempts += 1));
    const [error] = await once(socket, "connect_error");
    assert.equal(error.data.code, code);
    assert.equal(socket.active, false);
    await sleep(600);
    assert.equal(attempts, 0);
  });
}

check("is disconnected for good by a logout", async (cleanup) => {
  const session = await api("POST", "/api/v1/sessions", { userId: "js-logout" });
  const socket = await connected(cleanup, { auth: session });
  const gone = once(socket, "disconnect", 2000);
  await api("DELETE", `/api/v1/sessions/${encodeURIComponent(session.sessionID)}`);
  assert.equal((await gone)[0], "io server disconnect");
  assert.equal(socket.active, false);
});

check("recovers what it missed, time and again", async (cleanup) => {
  const session = await api("POST", "/api/v1/sessions", { userId: "js-recovery" });
  const socket = await connected(cleanup, { auth: session });
  const seen = collect(socket, "trade:executed");
  const trade = (n) => api("POST", "/api/v1/users/js-recovery/trades/executed", { n });
  await socket.emitWithAck("subscribe:trades");
  const { id } = socket;
  let next = 0;
  // The first round has no event before its drop.
  for (let round = 0; round < 3; round += 1) {
    const back = once(socket, "connect");
    socket.io.engine.close();
    for (const last = next + 3; next < last; next += 1) await trade(next);
    await back;
    assert.equal(socket.recovered, true, `round ${round}`);
    assert.equal(socket.id, id);
    await until("all came", () => seen.length >= next);
    assert.deepEqual(seen.map(([{ n }]) => n), Array.from({ length: next }, (_, n) => n));
  }
});

check("may send attachments, which no channel knows", async (cleanup) => {
  const socket = await connected(cleanup);
  const answer = await socket.emitWithAck("unknown", Buffer.from([1, 2, 3]));
  assert.equal(answer.error.code, "unknown_event");
});

await runChecks();

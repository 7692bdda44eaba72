// Many clients that drop at random while the node restarts and is killed under them; every trade
// must come to each once and in order, and every return must be a recovery:
//   node soak.mjs URL --clients 40 --seconds 60       (TIDINGS_API, TIDINGS_API_KEY in the environment)
import { parseArgs } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { clients: { type: "string" }, seconds: { type: "string" } },
});
const [url] = positionals;
const headers = {
  authorization: `Bearer ${process.env.TIDINGS_API_KEY}`,
  "content-type": "application/json",
};
const transports = [["websocket"], ["polling"], ["polling", "websocket"]];
const fail = (why) => {
  console.error(why);
  process.exit(1);
};

// The node may be away for a moment: the same request, with the same id, until it is answered.
async function post(path, body) {
  for (let tries = 0; tries < 600; tries += 1) {
    const answer = await fetch(process.env.TIDINGS_API + path, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    }).catch(() => null);
    if (answer?.ok) return answer.json();
    if (answer && answer.status < 500) fail(`${path}: ${answer.status} ${await answer.text()}`);
    await sleep(100);
  }
  return fail(`${path}: no answer in a minute`);
}

// As a network would, in a turn of its own: the library keeps an event that it has decoded and not
// handed out when the application itself closes the engine, and hands it out after the return, next
// to the replay of the same event.
function cut(socket) {
  const transport = socket.io.engine?.transport;
  if (transport?.name === "websocket") transport.ws?._socket?.destroy();
  else if (transport) setImmediate(() => transport.onError?.("cut"));
}

async function trader(number) {
  const user = `soak${number}`;
  const { sessionID } = await post("/api/v1/sessions", { userId: user });
  const socket = io(url, {
    auth: { sessionID, userId: user },
    forceNew: true,
    transports: transports[number % transports.length],
    reconnectionDelay: 50,
    reconnectionDelayMax: 500,
  });
  const state = { user, socket, seen: 0, returns: 0 };
  const recent = [];
  const note = (what) => recent.push(`${Date.now() % 100000} ${what}`) > 40 && recent.shift();
  socket.on("trade:executed", ({ n }, offset) => {
    note(`trade ${n} ${offset}`);
    if (n !== state.seen) {
      fail(`${user}: trade ${n} came where ${state.seen} was due\n${recent.join("\n")}`);
    }
    state.seen += 1;
  });
  socket.on("connect", () => note(`connect ${socket.recovered} ${socket._lastOffset}`));
  socket.on("disconnect", (reason) => note(`disconnect ${reason} ${socket._lastOffset}`));
  await new Promise((done) => socket.once("connect", done));
  const answer = await socket.emitWithAck("subscribe:trades");
  if (!answer.ok) fail(`${user}: ${JSON.stringify(answer)}`);
  socket.on("connect", () => {
    state.returns += 1;
    if (!socket.recovered) fail(`${user}: came back after ${state.seen} and was not recovered`);
  });
  socket.on("disconnect", (reason) => socket.active || fail(`${user}: sent away: ${reason}`));
  return state;
}

const traders = [];
for (let n = 0; n < Number(options.clients); n += 1) traders.push(await trader(n));
console.log("SUBSCRIBED");

const end = Date.now() + Number(options.seconds) * 1000;
let emitted = 0;
while (Date.now() < end) {
  await Promise.all(
    traders.map(({ user }) =>
      post("/api/v1/emit", {
        room: `trades:${user}`,
        event: "trade:executed",
        data: { n: emitted },
        id: `${user}-${emitted}`,
      }),
    ),
  );
  emitted += 1;
  for (const { socket } of traders) if (Math.random() < 0.02) cut(socket);
  await sleep(20);
}
console.log("EMITTED");
for (let tries = 0; traders.some(({ seen }) => seen < emitted); tries += 1) {
  if (tries > 600) {
    const late = traders.filter(({ seen }) => seen < emitted).map(({ user, seen }) => [user, seen]);
    fail(`not all came in a minute: ${JSON.stringify(late)} of ${emitted}`);
  }
  await sleep(100);
}
const returns = traders.reduce((sum, one) => sum + one.returns, 0);
console.log(`${traders.length} clients, ${emitted} trades each, ${returns} recoveries`);
process.exit(0);

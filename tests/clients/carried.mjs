// Several clients behind a balancer, each asking again and again, with large payloads now and then;
// what is emitted must come to each, once and in order:
//   node carried.mjs URL --transports polling,websocket --lasts 5
//   (TIDINGS_API, TIDINGS_API_KEY in the environment)
// A client that loses its connection must come back within a few seconds.
import { parseArgs } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";

const CLIENTS = 12;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    transports: { type: "string", default: "polling,websocket" },
    lasts: { type: "string", default: "4" },
  },
});
const [url] = positionals;
const transports = options.transports.split(",");
const end = Date.now() + Number(options.lasts) * 1000;
const fail = (why) => {
  console.error(why);
  process.exit(1);
};

async function emit(body) {
  const answer = await fetch(`${process.env.TIDINGS_API}/api/v1/emit`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${process.env.TIDINGS_API_KEY}`,
      "content-type": "application/json",
    },
    body: JSON.stringify(body),
  });
  if (!answer.ok) fail(`emit: ${answer.status} ${await answer.text()}`);
}

async function open(number) {
  const socket = io(url, {
    transports,
    auth: { userId: `user${number}` },
    forceNew: true,
    reconnectionDelay: 100,
    reconnectionDelayMax: 300,
  });
  const client = { number, socket, returns: 0, last: null };
  socket.on("disconnect", () => {
    client.last = null;
    client.returns += 1;
  });
  socket.on("tick", (n, filler) => {
    if (client.last !== null && n !== client.last + 1) {
      fail(`client ${number}: ${n} came after ${client.last}`);
    }
    if (filler.length !== (n % 5 ? 10 : 300_000)) fail(`${filler.length} characters in ${n}`);
    client.last = n;
  });
  await new Promise((done) => socket.once("connect", done));
  if (transports.length > 1 && socket.io.engine.transport.name !== transports[1]) {
    await new Promise((done) => socket.io.engine.once("upgrade", done));
  }
  return client;
}

// Also what no node has a use for is answered, and comes whole or not at all.
async function ask({ number, socket }) {
  for (let turn = 0; Date.now() < end; turn += 1) {
    const asked = Date.now();
    const topic = `${number}.${turn % 10}`;
    const answers = await Promise.all([
      socket.timeout(8000).emitWithAck("subscribe:news", { topic }),
      socket.timeout(8000).emitWithAck("odd", Buffer.alloc(turn % 5 ? 10 : 200_000, 1), {}),
    ]).catch(() => null);
    // What was asked of a node that died has no answer; the client must be back by now.
    if (!answers && Date.now() - asked > 9000) fail(`client ${number}: no answer`);
    if (answers && !answers[0].ok) fail(JSON.stringify(answers));
    await sleep(20);
  }
}

async function tick() {
  for (let n = 0; Date.now() < end; n += 1) {
    const filler = "x".repeat(n % 5 ? 10 : 300_000);
    await emit({ broadcast: true, event: "tick", args: [n, filler] });
    await sleep(20);
  }
}

const clients = await Promise.all(Array.from({ length: CLIENTS }, (_, number) => open(number)));
console.log("all are connected");
await Promise.all([tick(), ...clients.map(ask)]);
for (const client of clients) {
  const answer = await client.socket
    .timeout(5000)
    .emitWithAck("subscribe:news", { topic: "last" })
    .catch((error) => fail(`client ${client.number} is not back: ${error}`));
  if (!answer.ok) fail(JSON.stringify(answer));
}
await emit({ broadcast: true, event: "last" });
const returns = clients.reduce((sum, { returns }) => sum + returns, 0);
console.log(`${CLIENTS} clients, ${returns} came back`);
process.exit(0);

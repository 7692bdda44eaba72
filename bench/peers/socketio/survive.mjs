// Clients of one server that is killed, and that then go to another. Tells what became of them.
//
//   survive.mjs FIRST SECOND CLIENTS
//
// Prints "connected"; the server is then killed, and each client is sent an event. A line on the
// standard input lets them go to the second one. Prints {"recovered", "got", "repeated"}.

import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [first, second, count] = process.argv.slice(2);
const PATIENCE_MS = 15_000;

const clients = Array.from({ length: Number(count) }, (_, number) => connect(number));
await Promise.all(clients.map(({ ready }) => ready));
console.log("connected");
for await (const _ of createInterface({ input: process.stdin })) break;

await Promise.all(clients.map(comeBack));
await new Promise((resolve) => setTimeout(resolve, 1000));
const all = (of) => clients.reduce((sum, client) => sum + of(client), 0);
console.log(JSON.stringify({
  recovered: all(({ socket }) => Number(socket.recovered)),
  got: all(({ events }) => Number(events > 1)),
  repeated: all(({ events }) => Math.max(0, events - 2)),
}));
process.exit(0);

function connect(number) {
  const socket = io(`http://${first}`, {
    transports: ["websocket"],
    forceNew: true,
    reconnection: false,
    auth: { userId: `user-${number}` },
  });
  const client = { socket, events: 0 };
  // The first event gives the client what it presents when it comes back.
  client.ready = new Promise((resolve, reject) => {
    socket.once("connect_error", reject);
    socket.once("connect", () => socket.emit("subscribe:mine", {}, () => console.log("subscribed")));
    socket.once("trade:executed", resolve);
  });
  socket.on("trade:executed", () => { client.events += 1; });
  return client;
}

function comeBack({ socket }) {
  socket.io.uri = `http://${second}`;
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error("a client is not back")), PATIENCE_MS).unref();
    socket.once("connect", resolve);
    const again = () => socket.connected || socket.connect();
    socket.on("connect_error", () => setTimeout(again, 200));
    again();
  });
}

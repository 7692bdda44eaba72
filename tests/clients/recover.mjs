// Counts trades across drops of the connection that others cause; each must come once, in order,
// and each reconnection must be a recovery:
//   node recover.mjs URL --transports websocket --last 60 --drops 3
import assert from "node:assert/strict";
import { client, options } from "./lib/session.mjs";

const last = Number(options.last);
const drops = Number(options.drops);
const seen = [];
let connections = 0;

const socket = client();
const lost = (why) => {
  console.error(`${why}; connections: ${connections}, trades: ${JSON.stringify(seen)}`);
  process.exit(1);
};
setTimeout(() => lost("not done in 90 s"), 90_000);

socket.on("connect", async () => {
  connections += 1;
  if (connections > 1 && !socket.recovered) lost("it was not recovered");
  if (connections === 1) {
    // An answer that a drop cuts off is no fault: what counts is that the trades come.
    const answer = await socket.emitWithAck("subscribe:trades").catch(() => ({ ok: true }));
    if (!answer.ok) lost(`not subscribed: ${JSON.stringify(answer)}`);
    // Tells the test, which sees rooms, that trades may begin.
    socket.emit("subscribe:watchlist", { symbols: ["READY"] });
  }
});
socket.on("connect_error", (error) => {
  if (!socket.active) lost(`refused for good: ${error.message}`);
});
socket.on("disconnect", (reason) => {
  if (!socket.active) lost(`it was told to stay away: ${reason}`);
});
socket.on("trade:executed", ({ n }) => {
  seen.push(n);
  if (n !== seen.length - 1) lost("a trade is missing, doubled or out of order");
  if (n === last) {
    assert.equal(connections, drops + 1);
    process.exit(0);
  }
});

// Clients that live through a rolling restart behind a balancer:
//   node rolling.mjs URL --clients 30
// Each subscribes whenever it connects. Ends once every client has got an `end` from each of three
// nodes; whoever started it gives up when that takes too long.
import { parseArgs } from "node:util";
import { io } from "socket.io-client";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { clients: { type: "string", default: "30" } },
});
const count = Number(values.clients);
let [moves, ticks, done] = [0, 0, 0];

function subscribe(socket) {
  socket.timeout(3000).emit("subscribe:news", { topic: "all" }, (error, answer) => {
    // Unanswered, the connection is about to move; what it moves to is subscribed anew.
    if (!error && answer.ok !== true) throw new Error(JSON.stringify(answer));
    if (error && socket.connected) subscribe(socket);
  });
}

for (let number = 0; number < count; number += 1) {
  const socket = io(positionals[0], {
    transports: ["websocket"],
    auth: { userId: `user-${number}` },
    forceNew: true,
    reconnectionDelay: 50,
    reconnectionDelayMax: 300,
  });
  const ends = new Set();
  socket.on("connect", () => subscribe(socket));
  socket.on("disconnect", (reason) => {
    moves += 1;
    // After this one a client stays away by itself.
    if (reason === "io server disconnect") throw new Error("a client was sent away for good");
  });
  socket.on("tick", () => (ticks += 1));
  socket.on("end", (node) => {
    if (ends.size === 3) return;
    ends.add(node);
    if (ends.size < 3) return;
    done += 1;
    if (done === count) {
      console.log(JSON.stringify({ moves, ticks }));
      process.exit(0);
    }
  });
}

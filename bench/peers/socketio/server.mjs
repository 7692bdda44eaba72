// Socket.IO as an application would set it up: one room, which clients ask to join, and an HTTP
// endpoint through which a backend emits to it. Takes the same requests as Tidings.
// Prints {"port", "version"} once it serves.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { Server } from "socket.io";

const ROOM = "bench";
const { version } = createRequire(import.meta.url)("socket.io/package.json");

const http = createServer(handleEmit);
const io = new Server(http, { serveClient: false });

io.on("connection", (socket) => {
  socket.on("subscribe:bench", (...args) => {
    socket.join(ROOM);
    const acknowledge = args.at(-1);
    if (typeof acknowledge === "function") acknowledge({ ok: true, joined: [ROOM], rejected: [] });
  });
});

http.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
  console.log(JSON.stringify({ port: http.address().port, version }));
});

function handleEmit(request, response) {
  if (request.method !== "POST" || request.url !== "/emit") return answer(response, 404, {});
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    let emit;
    try {
      emit = JSON.parse(Buffer.concat(chunks));
    } catch {
      return answer(response, 400, { error: { code: "invalid_json" } });
    }
    io.to(emit.room).emit(emit.event, emit.data);
    answer(response, 202, { id: request.headers["x-request-id"] ?? "" });
  });
}

function answer(response, status, body) {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

// The conformance profiles served by the reference implementation, with the interface of our
// conformance server, so that each test and driver can be proved against it first:
//   node reference/server.mjs --listen 127.0.0.1:3000 --profile suite|patient|kit
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { Server as EngineServer } from "engine.io";
import { Server } from "socket.io";
import { serveControl } from "./control.mjs";

const { values: options } = parseArgs({
  options: {
    listen: { type: "string", default: "127.0.0.1:3000" },
    profile: { type: "string", default: "suite" },
  },
});

const profiles = { suite: serveSuite, patient: servePatient, kit: serveKit };
const http = createServer();
const io = profiles[options.profile](http);

const [host, port] = options.listen.split(":");
http.listen(Number(port), host, () => {
  const { address, port } = http.address();
  console.log(`listening on ${address}:${port}`);
});
process.on("SIGTERM", () => {
  io.close();
  http.closeAllConnections();
  setTimeout(() => process.exit(0), 50);
});

function servePatient(http) {
  return serveSuite(http, { pingInterval: 25_000, pingTimeout: 20_000 });
}

function serveSuite(http, heartbeat = { pingInterval: 300, pingTimeout: 200 }) {
  const timers = { ...heartbeat, maxHttpBufferSize: 1_000_000 };
  const engine = new EngineServer(timers);
  engine.on("connection", (socket) => socket.on("message", (data) => socket.send(data)));
  const io = new Server({ ...timers, connectTimeout: 1000, cors: { origin: true } });
  for (const namespace of ["/", "/custom"]) {
    io.of(namespace).on("connection", (socket) => {
      socket.emit("auth", socket.handshake.auth);
      socket.on("message", (...args) => socket.emit("message-back", ...args));
      socket.on("message-with-ack", (...args) => args.pop()(...args));
    });
  }
  // Each would otherwise end the upgrades that are the other's.
  io.attach(http, { destroyUpgrade: false });
  engine.attach(http, { path: "/engine.io/", destroyUpgrade: false });
  return io;
}

function serveKit(http) {
  const io = new Server({
    pingInterval: 1000,
    pingTimeout: 2000,
    connectionStateRecovery: { maxDisconnectionDuration: 120_000 },
    cors: { origin: true, credentials: true },
  });
  const state = { gone: [], got: [] };
  const serve = (namespace) => (socket) => {
    socket.on("echo", (...args) => args.pop()(...args));
    socket.on("echo-back", (...args) => socket.emit("echo-back", ...args));
    socket.on("never-ack", () => {});
    socket.on("disconnect", (reason) => {
      state.gone.push({ nsp: namespace ?? socket.nsp.name, id: socket.id, reason, at: Date.now() });
    });
  };
  io.of("/kit").use((socket, next) => {
    if (socket.handshake.auth.token === "secret") return next();
    next(Object.assign(new Error("not authorized"), { data: { code: 401, content: "bad token" } }));
  });
  io.of("/kit").on("connection", serve("/kit"));
  io.of("/").on("connection", serve("/"));
  io.of(/^\/dyn-\w+$/).on("connection", serve());
  serveControl(http, io, state);
  io.attach(http);
  return io;
}

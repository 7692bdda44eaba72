// Socket.IO as an application would set it up: rooms that clients ask to join, sessions if there
// are any, and an HTTP endpoint through which a backend emits. Takes the same requests as Tidings.
// Prints {"port", "version"} once it serves, and "emitPort" when clients come over TLS.
//
// SESSIONS_FILE        lines of {"sessionID", "userId"}; whoever has none of them is refused
// MONGODB_URL          where express-session and connect-mongo keep them instead
// TLS_CERT, TLS_KEY    PEM files; clients then come over TLS
// REDIS_URL            where the Redis is that makes this server one of several
// REDIS_STREAMS        if set, by streams: then clients that come back are to get what they missed

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { createRequire } from "node:module";
import { Server } from "socket.io";

const ROOM = "bench";
const BACKLOG = 4096;
const { SESSIONS_FILE, MONGODB_URL, TLS_CERT, TLS_KEY, REDIS_URL, REDIS_STREAMS } = process.env;
const { version } = createRequire(import.meta.url)("socket.io/package.json");

const backend = createServer(handleEmit);
const clients = TLS_CERT
  ? createTlsServer({ cert: readFileSync(TLS_CERT), key: readFileSync(TLS_KEY) })
  : backend;
const io = new Server(clients, { serveClient: false, ...(await together()) });

if (SESSIONS_FILE) io.use(authenticate(readSessions(SESSIONS_FILE)));
if (MONGODB_URL) io.use(await authenticateByStore(MONGODB_URL));
io.on("connection", (socket) => {
  const { userId } = socket.handshake.auth;
  if (userId) socket.join(`user:${userId}`);
  socket.on("subscribe:bench", (...args) => subscribe(socket, [ROOM], args));
  // Asked by clients of whom nobody else wants anything, to see how long the answer takes.
  socket.on("subscribe:probe", (...args) => subscribe(socket, ["probe"], args));
  socket.on("subscribe:mine", (...args) => subscribe(socket, [`mine:${userId}`], args));
  socket.on("subscribe:watchlist", (...args) => {
    subscribe(socket, args[0].symbols.map((symbol) => `quote:${symbol}`), args);
  });
});

const port = await listen(clients);
const emitPort = clients === backend ? {} : { emitPort: await listen(backend) };
console.log(JSON.stringify({ port, ...emitPort, version }));

function listen(server) {
  return new Promise((resolve) => {
    server.listen({ port: 0, host: "127.0.0.1", backlog: BACKLOG }, () => {
      resolve(server.address().port);
    });
  });
}

// How this server is one of several, if it is.
async function together() {
  if (!REDIS_URL) return {};
  if (!REDIS_STREAMS) return { adapter: await redisAdapter(REDIS_URL) };
  return { adapter: await streamsAdapter(REDIS_URL), connectionStateRecovery: {} };
}

async function streamsAdapter(url) {
  const { createAdapter } = await import("@socket.io/redis-streams-adapter");
  const { createClient } = await import("redis");
  const client = createClient({ url });
  await client.connect();
  return createAdapter(client);
}

// As its documentation has it: one connection that publishes, one that is subscribed.
async function redisAdapter(url) {
  const { createAdapter } = await import("@socket.io/redis-adapter");
  const { createClient } = await import("redis");
  const publisher = createClient({ url });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  return createAdapter(publisher, subscriber);
}

function readSessions(path) {
  const lines = readFileSync(path, "utf8").split("\n").filter(Boolean);
  const sessions = lines.map((line) => JSON.parse(line));
  return new Map(sessions.map(({ sessionID, userId }) => [sessionID, userId]));
}

function authenticate(sessions) {
  return (socket, next) => {
    const { sessionID, userId } = socket.handshake.auth;
    const known = userId !== undefined && sessions.get(sessionID) === userId;
    next(known ? undefined : new Error("invalid_session"));
  };
}

// What express-session does for a request: it asks the store for the session of its id.
async function authenticateByStore(mongoUrl) {
  const { default: MongoStore } = await import("connect-mongo");
  const store = MongoStore.create({ mongoUrl });
  return (socket, next) => {
    const { sessionID, userId } = socket.handshake.auth;
    store.get(sessionID, (error, session) => {
      const known = !error && userId !== undefined && session?.userId === userId;
      next(known ? undefined : new Error("invalid_session"));
    });
  };
}

function subscribe(socket, rooms, args) {
  socket.join(rooms);
  const acknowledge = args.at(-1);
  if (typeof acknowledge === "function") acknowledge({ ok: true, joined: rooms, rejected: [] });
}

function handleEmit(request, response) {
  if (request.method !== "POST" || request.url !== "/emit") return answer(response, 404, {});
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    let body;
    try {
      body = JSON.parse(Buffer.concat(chunks));
    } catch {
      return answer(response, 400, { error: { code: "invalid_json" } });
    }
    for (const { room, event, data } of Array.isArray(body) ? body : [body]) {
      io.to(room).emit(event, data);
    }
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

// The control API of profile `kit`: POST /__kit/<op>, JSON in, JSON out.

const operations = {
  async emit(nsp, { rooms, except, flags = {}, event, args = [] }) {
    let target = to(nsp, rooms).except(except ?? []);
    if (flags.volatile) target = target.volatile;
    if (flags.local) target = target.local;
    target.emit(event, ...args);
    return { ok: true };
  },
  ask(nsp, { rooms, event, args = [], timeout }) {
    return new Promise((done) => {
      to(nsp, rooms)
        .timeout(timeout)
        .emit(event, ...args, (error, responses) => {
          done({ err: error ? error.message : null, responses });
        });
    });
  },
  async join(nsp, { rooms, join }) {
    to(nsp, rooms).socketsJoin(join);
    return { ok: true };
  },
  async leave(nsp, { rooms, leave }) {
    to(nsp, rooms).socketsLeave(leave);
    return { ok: true };
  },
  async sockets(nsp, { rooms }) {
    const sockets = await to(nsp, rooms).fetchSockets();
    return sockets.map(({ id, rooms, data, handshake }) => {
      const { auth, query, headers, url } = handshake;
      return { id, rooms: [...rooms], data, handshake: { auth, query, headers, url } };
    });
  },
  async local(nsp) {
    return [...nsp.sockets.values()].map(({ id, recovered, rooms, conn }) => ({
      id,
      recovered,
      rooms: [...rooms],
      transport: conn.transport.name,
      engine: conn.id,
    }));
  },
  async kick(nsp, { rooms, mode }) {
    if (mode === "engine") {
      for (const { id } of await to(nsp, rooms).local.fetchSockets()) nsp.sockets.get(id)?.conn.close();
    } else {
      to(nsp, rooms).disconnectSockets(mode === "close");
    }
    return { ok: true };
  },
  gone: async (_nsp, _body, state) => state.gone,
  rooms: async (nsp) => [...nsp.adapter.rooms.keys()],
  count: async (nsp) => nsp.adapter.serverCount(),
  async "server-side-emit"(nsp, { event, args = [] }) {
    nsp.serverSideEmit(event, ...args);
    return { ok: true };
  },
  "server-side-got": async (_nsp, _body, state) => state.got,
};

export function serveControl(http, io, state) {
  http.on("request", async (request, response) => {
    const operation = request.url.match(/^\/__kit\/([\w-]+)$/)?.[1];
    if (!operation) return;
    let status = 200;
    let answer;
    try {
      const body = fromJson(JSON.parse((await text(request)) || "{}"));
      if (!Object.hasOwn(operations, operation)) throw new Error(`unknown operation ${operation}`);
      answer = await operations[operation](io.of(body.nsp ?? "/"), body, state);
    } catch (error) {
      status = 400;
      answer = { error: { code: "invalid_request", message: error.message } };
    }
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(toJson(answer)));
  });
}

function to(nsp, rooms) {
  return rooms?.length ? nsp.to(rooms) : nsp.except([]);
}

async function text(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function fromJson(value) {
  if (Array.isArray(value)) return value.map(fromJson);
  if (value === null || typeof value !== "object") return value;
  if (typeof value.$b64 === "string") return Buffer.from(value.$b64, "base64");
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fromJson(item)]));
}

function toJson(value) {
  if (Buffer.isBuffer(value)) return { $b64: value.toString("base64") };
  if (Array.isArray(value)) return value.map(toJson);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toJson(item)]));
}

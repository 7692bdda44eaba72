// Bun's native pub/sub (uWebSockets inside) with plain frames: what C++ does for a fan-out.
// Of Socket.IO it plays just what tidings-load needs: the handshake, subscriptions, and
// acknowledgements. It keeps no sessions, checks nothing and sends no Engine.IO pings.
// Prints {"port", "version"} once it serves, and "emitPort" when clients come over TLS.

const ROOM = "bench";
const { TLS_CERT, TLS_KEY } = process.env;

const clients = {
  port: 0,
  hostname: "127.0.0.1",
  development: false,
  fetch: (request, server) =>
    server.upgrade(request) ? undefined : handleEmit(request),
  websocket: {
    perMessageDeflate: false,
    open: (socket) => void socket.send('0{"sid":"bun"}'),
    message: (socket, packet) => handlePacket(socket, packet),
  },
};

let server;
if (TLS_CERT) {
  server = Bun.serve({
    ...clients,
    tls: { cert: Bun.file(TLS_CERT), key: Bun.file(TLS_KEY) },
  });
  // The backend's way in stays plain, as on the other servers.
  const backend = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: handleEmit });
  announce({ port: server.port, emitPort: backend.port });
} else {
  server = Bun.serve(clients);
  announce({ port: server.port });
}

function announce(ports) {
  console.log(JSON.stringify({ ...ports, version: Bun.version }));
}

function handlePacket(socket, packet) {
  if (packet.startsWith("40")) {
    socket.send('40{"sid":"bun"}');
  } else if (packet.startsWith("42")) {
    const bracket = packet.indexOf("[");
    for (const room of rooms(JSON.parse(packet.slice(bracket)))) socket.subscribe(room);
    socket.send(`43${packet.slice(2, bracket)}[{"ok":true}]`);
  }
}

function rooms([event, request]) {
  switch (event) {
    case "subscribe:bench":
      return [ROOM];
    case "subscribe:watchlist":
      return request.symbols.map((symbol) => `quote:${symbol}`);
    default:
      return [];
  }
}

async function handleEmit(request) {
  if (request.method !== "POST" || new URL(request.url).pathname !== "/emit") {
    return Response.json({}, { status: 404 });
  }
  const body = await request.json();
  for (const { room, event, data } of Array.isArray(body) ? body : [body]) {
    server.publish(room, `42${JSON.stringify([event, data])}`);
  }
  return Response.json({}, { status: 202 });
}

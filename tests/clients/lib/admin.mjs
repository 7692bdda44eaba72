// What the scripts against the admin UI's namespace share.
import { io } from "socket.io-client";

export const password = process.env.TIDINGS_ADMIN_PASSWORD;

/** Every event of a socket from the beginning, as [name, ...args]. */
export function recorded(socket) {
  const seen = [];
  socket.onAny((...event) => seen.push(event));
  return seen;
}

/** A socket of the admin UI; what it is told is in `seen`. Rejects with the CONNECT_ERROR. */
export async function operator(url, auth, cleanup) {
  const socket = io(`${url}/admin`, {
    auth,
    transports: ["websocket"],
    forceNew: true,
    reconnection: false,
  });
  cleanup(() => socket.disconnect());
  let connected = false;
  // Nothing may come before: the official page listens from then on only.
  const seen = [];
  const early = [];
  socket.onAny((...event) => (connected ? seen : early).push(event));
  await new Promise((done, reject) => {
    socket.once("connect", () => {
      connected = true;
      done();
    });
    socket.once("connect_error", reject);
  });
  return { socket, seen, early };
}

/** The first event of that name that `fits`, if it has come. */
export function found(seen, name, fits = () => true) {
  return seen.find(([other, ...args]) => other === name && fits(...args));
}

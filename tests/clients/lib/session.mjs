// What the scripts against a real node share. Credentials come by the environment, so that no
// command line shows them.
import { parseArgs } from "node:util";
import { io } from "socket.io-client";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    transports: { type: "string", default: "polling,websocket" },
    last: { type: "string" },
    drops: { type: "string" },
  },
});

export const options = values;
export const url = positionals[0];
export const transports = values.transports.split(",");
export const auth = JSON.parse(process.env.TIDINGS_SESSION);

export function client(overrides = {}) {
  return io(url, {
    transports,
    auth,
    forceNew: true,
    reconnectionDelay: 100,
    reconnectionDelayMax: 300,
    ...overrides,
  });
}

/** One request to the private API; gives the answer's JSON. */
export async function api(method, path, body) {
  const response = await fetch(process.env.TIDINGS_API + path, {
    method,
    headers: {
      authorization: `Bearer ${process.env.TIDINGS_API_KEY}`,
      "content-type": "application/json",
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

export const emit = (body) => api("POST", "/api/v1/emit", body);

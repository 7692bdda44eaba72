// What the drivers of profile `kit` share: the target, clients that go with their check, and the
// control API. Where the target is several nodes, clients and calls go to them in turn, so that what
// is asked of one node mostly concerns clients of another.
import { parseArgs } from "node:util";
import { io } from "socket.io-client";
import { once } from "./check.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { transports: { type: "string", default: "polling,websocket" } },
});
if (positionals.length === 0) {
  console.error("usage: node kit.mjs URL... [--transports polling,websocket]");
  process.exit(64);
}

export const nodes = positionals.map((url) => url.replace(/\/$/, ""));
export const url = nodes[0];
export const isAlone = nodes.length === 1;
export const transports = values.transports.split(",");
/** The transport on which a connection ends up. */
export const settled = transports.includes("websocket") ? "websocket" : "polling";
export const upgrades = transports[0] === "polling" && transports.includes("websocket");
export const token = { token: "secret" };

let counter = 0;
/** A name that no other check uses. */
export const unique = (what) => `${what}-${process.pid}-${(counter += 1)}`;

let turn = 0;
const nextNode = () => nodes[(turn += 1) % nodes.length];

/** A client that is closed with its check; `connect` waits for it to be connected. */
export function client(cleanup, namespace = "/kit", { node = nextNode(), ...options } = {}) {
  const socket = io(node + namespace, {
    transports,
    auth: namespace === "/kit" ? token : undefined,
    forceNew: true,
    reconnectionDelay: 400,
    randomizationFactor: 0,
    ...options,
  });
  cleanup(() => socket.disconnect());
  return socket;
}

export async function connected(cleanup, namespace, options) {
  const socket = client(cleanup, namespace, options);
  await Promise.race([
    once(socket, "connect"),
    once(socket, "connect_error").then(([error]) => Promise.reject(error)),
  ]);
  if (upgrades && socket.io.engine.transport.name !== settled) {
    await once(socket.io.engine, "upgrade");
  }
  return socket;
}

/** One call of the control API, for `/kit` unless the body names another namespace. */
export async function control(operation, body = {}, node = nextNode()) {
  const response = await fetch(`${node}/__kit/${operation}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ nsp: "/kit", ...body }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${operation}: ${response.status} ${text}`);
  return JSON.parse(text);
}

/** The reason with which a node saw that socket go. */
export async function goneReason(id) {
  const gone = await Promise.all(nodes.map((node) => control("gone", {}, node)));
  return gone.flat().find((gone) => gone.id === id)?.reason;
}

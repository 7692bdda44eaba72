// The protocol of the Admin UI in production mode, read-only, spoken by socket.io-client:
//   TIDINGS_ADMIN_PASSWORD=… node admin-ui-figures.mjs URL
import assert from "node:assert/strict";
import { io } from "socket.io-client";
import { operator, password } from "./lib/admin.mjs";
import { check, once, runChecks, until } from "./lib/check.mjs";

const url = process.argv[2];

check("shows figures and nothing else, and does nothing", async (cleanup) => {
  const login = { username: "admin", password };
  const { socket: admin, seen } = await operator(url, login, cleanup);
  const figures = () => seen.filter(([name]) => name === "server_stats").map(([, it]) => it);
  await until("figures came", () => figures().length);

  const client = io(url, { transports: ["websocket"], forceNew: true, auth: { userId: "alice" } });
  cleanup(() => client.disconnect());
  await once(client, "connect");
  const gone = [];
  client.on("disconnect", (reason) => gone.push(reason));
  client.on("hello", () => gone.push("hello"));
  admin.emit("_disconnect", "/", true);
  admin.emit("emit", "/", undefined, "hello");
  await client.emitWithAck("subscribe:watchlist", { symbols: ["ADM"] });
  const other = io(url, { transports: ["polling"], forceNew: true, auth: { userId: "bob" } });
  cleanup(() => other.disconnect());
  await once(other, "connect");
  await until("there is one that polls", () => figures().at(-1).pollingClientsCount === 1);
  other.disconnect();

  const counted = (type) =>
    figures()
      .flatMap(({ aggregatedEvents }) => aggregatedEvents)
      .filter((it) => it.type === type);
  for (const type of ["rawConnection", "rawDisconnection", "packetsIn", "packetsOut", "bytesIn",
    "bytesOut"]) {
    await until(`${type} came`, () => counted(type).length);
    for (const { timestamp, count } of counted(type)) {
      assert.ok(timestamp % 1000 === 0 && Math.abs(Date.now() - timestamp) < 60_000);
      assert.ok(count > 0);
    }
  }
  assert.ok(counted("rawDisconnection").every(({ subType }) => subType));
  assert.equal(figures().at(-1).namespaces.find(({ name }) => name === "/").socketsCount, 1);

  const [, config] = seen.find(([name]) => name === "config");
  assert.deepEqual(config.supportedFeatures, ["AGGREGATED_EVENTS"]);
  const names = new Set(seen.map(([name]) => name));
  assert.deepEqual([...names].sort(), ["config", "server_stats", "session"]);
  assert.deepEqual(gone, []);
  assert.ok(client.connected);
});

await runChecks();

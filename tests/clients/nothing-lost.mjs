// Many clients that are cut off and come back to any node while trades flow; each must get each
// trade of its user once and in order, or be told that it may have missed some:
//   node nothing-lost.mjs URL,API URL,API … --clients 30 --rate 30 --cut 15 --offline 2
// (TIDINGS_API_KEY in the environment). Prints SUBSCRIBED when trades begin to flow, ends after a
// line on its standard input, and prints FIGURES with a table in JSON.
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Emitter } from "./nothing-lost/emitter.mjs";
import { Account } from "./nothing-lost/judge.mjs";
import { Trader } from "./nothing-lost/trader.mjs";

/** How many connect at once at the beginning. */
const AT_ONCE = 50;

/** How long the last client may need to have everything, once there is peace. */
const SETTLED_MS = 60_000;

/** Of how many clients with problems the notes are printed. */
const SHOWN = 3;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    clients: { type: "string", default: "30" },
    /** Trades a second, over all users. */
    rate: { type: "string", default: "30" },
    /** Seconds between cuts of one client, on average; 0 for none. */
    cut: { type: "string", default: "0" },
    /** Seconds before each try to come back. */
    offline: { type: "string", default: "2" },
    /** Seconds that a try may take. */
    timeout: { type: "string", default: "20" },
    /** All begin at the first node. */
    together: { type: "boolean", default: false },
    /** Only these transports, instead of all in turn. */
    transports: { type: "string" },
    /** Nobody may be told `false`. */
    strict: { type: "boolean", default: false },
  },
});
const nodes = positionals.map((pair) => pair.split(","));
const urls = nodes.map(([url]) => url);

/** One client of the first user, two of the second, three of the third, and again. */
function allTraders() {
  const count = Number(options.clients);
  const all = [];
  for (let user = 0; all.length < count; user += 1) {
    const account = new Account(`user${user}`);
    for (let n = 0; n <= user % 3 && all.length < count; n += 1) all.push(account);
  }
  return all;
}

async function until(what, condition, patience) {
  const begun = Date.now();
  while (!condition()) {
    if (Date.now() - begun > patience) {
      console.error(`not so within ${patience} ms: ${what}`);
      return false;
    }
    await sleep(50);
  }
  return true;
}

let cutting = false;

async function connectAll() {
  const all = allTraders();
  const traders = [];
  const config = {
    urls,
    first: options.together ? urls[0] : undefined,
    transports: options.transports?.split(","),
    offlineMs: Number(options.offline) * 1000,
    timeoutMs: Number(options.timeout) * 1000,
    cutMs: Number(options.cut) * 1000,
    cutting: () => cutting,
    strict: options.strict,
  };
  while (traders.length < all.length) {
    for (const account of all.slice(traders.length, traders.length + AT_ONCE)) {
      traders.push(new Trader(traders.length, account, config));
    }
    const ready = () => traders.every(({ judge }) => judge.due !== null);
    if (!(await until("all are subscribed", ready, SETTLED_MS))) report(traders, null, 1);
  }
  return traders;
}

function spread(times) {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: sorted.at(-1) };
}

function sums(list) {
  const total = {};
  for (const figures of list) {
    for (const [key, value] of Object.entries(figures)) total[key] = (total[key] ?? 0) + value;
  }
  return total;
}

function report(traders, emitter, code) {
  const missed = traders.map(({ judge }) => (emitter ? judge.end() : 0));
  const silent = traders.reduce((sum, { judge }) => sum + judge.gap.size, 0);
  const figures = {
    clients: traders.length,
    users: new Set(traders.map(({ account }) => account)).size,
    ...emitter?.figures,
    ...sums(traders.map(({ judge }) => judge.figures)),
    silentlyMissed: silent,
    missedWhereToldFalse: missed.reduce((sum, one) => sum + one, 0),
    ...sums(traders.map((trader) => trader.figures)),
    sinceFirstTryMs: spread(traders.flatMap(({ times }) => times.back)),
    sinceLostMs: spread(traders.flatMap(({ times }) => times.away)),
    emitMs: spread(emitter?.times ?? []),
  };
  const faulty = traders.filter(({ judge }) => judge.problems.length > 0);
  for (const { judge } of faulty.slice(0, SHOWN)) {
    const [{ what, notes }] = judge.problems;
    console.error(`${judge.name}: ${what}; its notes until then:\n  ${notes.join("\n  ")}`);
  }
  console.log(`FIGURES ${JSON.stringify(figures)}`);
  process.exit(faulty.length > 0 ? 1 : code);
}

const traders = await connectAll();
const accounts = [...new Set(traders.map(({ account }) => account))];
const apis = nodes.map(([, api]) => api);
const emitter = new Emitter(accounts, apis, Number(options.rate));
emitter.start();
cutting = true;
console.log("SUBSCRIBED");
for await (const _ of createInterface({ input: process.stdin })) break;
console.log("ENDING");
await emitter.stop();
traders.forEach((trader) => trader.calm());
const settled = await until(
  "all have everything",
  () => traders.every((trader) => trader.isSettled()),
  SETTLED_MS,
);
// What comes too often comes now.
await sleep(1000);
for (const trader of traders.filter((one) => !one.isSettled())) {
  trader.judge.wrong(`not settled: connected ${trader.socket.connected}`);
}
report(traders, emitter, settled ? 0 : 1);

// A minimal runner for black-box drivers: named checks, each under a deadline, a summary, an exit
// code. A driver is no unit test: what it needs is arguments and plain output.
import assert from "node:assert/strict";

const DEADLINE_MS = 20_000;
const CONCURRENT = 6;

const checks = [];

/** Declares a check; `when: false` leaves it out, for what a transport cannot do. */
export function check(name, body, { when = true } = {}) {
  if (when) checks.push({ name, body });
}

/** Runs every declared check, prints the results and ends the process. */
export async function runChecks() {
  const only = process.env.ONLY;
  const queue = checks.filter(({ name }) => !only || name.includes(only));
  const failures = [];
  const total = queue.length;
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const began = Date.now();
      try {
        await withDeadline(next.body);
        console.log(`ok      ${next.name} (${Date.now() - began} ms)`);
      } catch (error) {
        failures.push(next.name);
        console.log(`FAILED  ${next.name} (${Date.now() - began} ms)\n${indent(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: CONCURRENT }, worker));
  console.log(`${total - failures.length} passed, ${failures.length} failed`);
  // A run of nothing proves nothing.
  process.exit(failures.length || total === 0 ? 1 : 0);
}

async function withDeadline(body) {
  const cleanups = [];
  let timer;
  try {
    const tooLate = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done in ${DEADLINE_MS} ms`)), DEADLINE_MS);
    });
    await Promise.race([body((cleanup) => cleanups.push(cleanup)), tooLate]);
  } finally {
    clearTimeout(timer);
    cleanups.forEach((cleanup) => cleanup());
  }
}

function indent(error) {
  const foreign = /^ +at .*(node_modules|node:internal|clients\/lib\/check).*\n?/gm;
  return String(error?.stack ?? error).replaceAll(foreign, "").replaceAll(/^/gm, "        ");
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Asks `probe` until it gives something truthy, and gives that. */
export async function until(what, probe, deadlineMs = 10_000) {
  const began = Date.now();
  for (;;) {
    const found = await probe();
    if (found) return found;
    assert.ok(Date.now() - began < deadlineMs, `not so in ${deadlineMs} ms: ${what}`);
    await sleep(20);
  }
}

/** The arguments of the next `event` of an emitter. */
export function once(emitter, event, deadlineMs = 10_000) {
  return new Promise((done, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`no "${event}" in ${deadlineMs} ms`)),
      deadlineMs,
    );
    emitter.once(event, (...args) => {
      clearTimeout(timer);
      done(args);
    });
  });
}

/** Every call of `event` from now on. */
export function collect(emitter, event) {
  const seen = [];
  emitter.on(event, (...args) => seen.push(args));
  return seen;
}

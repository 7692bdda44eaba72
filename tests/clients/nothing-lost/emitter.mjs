// Backends that emit at a steady pace through any node, each trade again with its id until it is
// answered.
import { setTimeout as sleep } from "node:timers/promises";

/** How long a request may take before it is sent to another node. */
const PATIENCE_MS = 4000;

/** How long one trade may need, whatever happens. */
const DEADLINE_MS = 90_000;

const TICK_MS = 20;

export class Emitter {
  /** `apis` of all nodes, `rate` of trades a second to all `accounts` in turn. */
  constructor(accounts, apis, rate) {
    this.accounts = accounts;
    this.apis = apis;
    this.rate = rate;
    this.figures = { emitted: 0, unkept: 0, refused: 0, unanswered: 0 };
    this.times = [];
    this.running = false;
    this.done = Promise.resolve();
  }

  start() {
    this.running = true;
    this.done = this.run();
  }

  /** Waits for the answers to all that were emitted. */
  async stop() {
    this.running = false;
    await this.done;
  }

  async run() {
    const begun = Date.now();
    const under = new Set();
    let [sent, turn] = [0, 0];
    while (this.running) {
      const due = ((Date.now() - begun) / 1000) * this.rate;
      for (let tries = 0; sent < due && tries < this.accounts.length; tries += 1) {
        turn = (turn + 1) % this.accounts.length;
        const account = this.accounts[turn];
        if (account.busy) continue;
        sent += 1;
        const trade = this.emit(account).finally(() => under.delete(trade));
        under.add(trade);
      }
      await sleep(TICK_MS);
    }
    await Promise.all(under);
  }

  async emit(account) {
    const n = account.emitted;
    account.emitted += 1;
    account.busy = true;
    const begun = Date.now();
    const answer = await this.post({
      room: `trades:${account.user}`,
      event: "trade:executed",
      data: { n },
      id: `${account.user} ${n}`,
    });
    this.times.push(Date.now() - begun);
    this.figures.emitted += 1;
    if (!answer.kept) this.figures.unkept += 1;
    account.kept[n] = answer.kept === true;
    account.busy = false;
  }

  async post(emit) {
    const begun = Date.now();
    while (Date.now() - begun < DEADLINE_MS) {
      const api = this.apis[Math.floor(Math.random() * this.apis.length)];
      const answer = await ask(`${api}/api/v1/emit`, emit);
      if (answer?.status === 202) return answer.body;
      if (answer && answer.status !== 503) {
        throw new Error(`${emit.id}: ${answer.status} ${JSON.stringify(answer.body)}`);
      }
      this.figures[answer ? "refused" : "unanswered"] += 1;
      await sleep(100);
    }
    throw new Error(`${emit.id}: not taken within ${DEADLINE_MS} ms`);
  }
}

/** The status and the body; null if there is no answer. */
async function ask(url, body) {
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers: {
        authorization: `Bearer ${process.env.TIDINGS_API_KEY}`,
        "content-type": "application/json",
      },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    return { status: answer.status, body: await answer.json() };
  } catch {
    return null;
  }
}

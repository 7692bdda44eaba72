// What two looks at the node's counters say about the time between them. Pure.

const KEPT = 90;

// Figures that only grow, by the name of their rate.
const RATES = {
  emits: ({ emits }) => emits,
  deliveries: ({ deliveries }) => deliveries,
  bytes: ({ writtenBytes }) => writtenBytes,
  events: ({ events }) => events,
  connects: (it) => it.connectsAccepted + it.connectsRefused + it.connectsPutOff,
  errors: (it) => Object.keys(ERRORS).reduce((sum, name) => sum + it[name], 0),
};

// What went wrong, by the counter that counts it.
export const ERRORS = {
  connectsRefused: 'Clients refused',
  connectsPutOff: 'Clients put off',
  emitsRefused: 'Emits refused or failed',
  slowReaders: 'Slow readers closed',
  dropped: 'Volatile events dropped',
  handlerPanics: 'Handlers that panicked',
  apiRefused: 'API requests refused (4xx)',
  apiFailed: 'API requests failed (5xx)',
};

export class History {
  // One list for each figure, the newest last; null where it is not known.
  series = {};
  #last = null;

  add(overview) {
    const { atMs, now, totals, node } = overview;
    const last = this.#last;
    const seconds = last ? (atMs - last.atMs) / 1000 : 0;
    const restarted = last && node.uptimeSeconds < last.node.uptimeSeconds;
    for (const [name, value] of Object.entries(RATES)) {
      const known = last && !restarted && seconds > 0;
      this.#push(name, known ? Math.max(0, value(totals) - value(last.totals)) / seconds : null);
    }
    for (const name of ['connections', 'sockets', 'rooms', 'outboxBytes']) this.#push(name, now[name]);
    this.#last = overview;
  }

  latest(name) {
    return this.series[name]?.at(-1) ?? null;
  }

  #push(name, value) {
    const list = (this.series[name] ??= []);
    list.push(value);
    if (list.length > KEPT) list.shift();
  }
}

// A histogram in Prometheus' text format, summed over its labels: [[upper bound in seconds, count up to it]…].
export function histogram(text, name) {
  const sums = new Map();
  for (const line of text.split('\n')) {
    if (!line.startsWith(`${name}_bucket{`)) continue;
    const found = /[{,]le="([^"]+)"[^}]*\}\s+(\S+)/.exec(line);
    if (!found) continue;
    const bound = found[1] === '+Inf' ? Infinity : Number(found[1]);
    sums.set(bound, (sums.get(bound) ?? 0) + Number(found[2]));
  }
  return [...sums].sort(([one], [other]) => one - other);
}

// The bound below which a share of what was counted since `before` lies; null if nothing was.
export function quantile(now, before, share) {
  const earlier = new Map(before);
  const grown = now.map(([bound, count]) => [bound, count - (earlier.get(bound) ?? 0)]);
  const all = grown.at(-1)?.[1] ?? 0;
  if (all <= 0) return null;
  return grown.find(([, count]) => count >= share * all)[0];
}

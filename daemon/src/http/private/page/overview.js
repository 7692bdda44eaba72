// The node and its cluster, live.

import { ask } from './api.js';
import { Sparkline } from './charts.js';
import { card, facts, make, replace, table } from './elements.js';
import { ERRORS, histogram, quantile } from './figures.js';
import { bytes, count, duration, milliseconds, rate, words } from './format.js';
import { deadOf } from './gaps.js';

const SLOTS = 90;
const LATENCY = 'tidings_emit_write_seconds';
const LATENCY_EVERY_MS = 10_000;

const TILES = [
  ['connections', 'Connections', count],
  ['sockets', 'Sockets', count],
  ['rooms', 'Rooms', count],
  ['outboxBytes', 'Waiting for clients', bytes],
  ['emits', 'Emits', rate, 'per second'],
  ['deliveries', 'Deliveries', rate, 'per second'],
  ['bytes', 'Written', (value) => (value === null ? '–' : bytes(value)), 'per second'],
  ['events', 'Events of clients', rate, 'per second'],
  ['connects', 'Connects', rate, 'per second'],
  ['errors', 'Errors', rate, 'per second'],
];

export class OverviewView {
  title = 'Overview';
  element = make('div', { className: 'view' });
  #tiles = new Map();
  #parts = {};
  #shown = {};
  #buckets = null;
  #measuredMs = 0;

  constructor() {
    const tiles = TILES.map(([name, title, , unit]) => {
      const tile = { value: make('span', { id: `figure-${name}` }, '–'), line: new Sparkline() };
      this.#tiles.set(name, tile);
      return make('div', { className: 'tile' },
        make('dt', {}, unit ? `${title} ${unit}` : title), make('dd', {}, tile.value), tile.line.element);
    });
    const part = (name) => (this.#parts[name] = make('div', { id: name }));
    this.element.append(
      make('dl', { className: 'tiles' }, ...tiles),
      part('nodes'), part('latency'),
      make('div', { className: 'columns' }, part('errors'), part('limits'), part('health'), part('closes')));
    this.#parts.latency.hidden = true;
  }

  show(overview, history) {
    for (const [name, , format] of TILES) {
      const tile = this.#tiles.get(name);
      tile.value.textContent = format(history.latest(name));
      tile.line.show(history.series[name], SLOTS);
    }
    const { node, now, cluster, storage, mongodb } = overview;
    this.#put('nodes', nodes, { node, now, cluster });
    this.#put('errors', errors, overview.totals);
    this.#put('limits', limits, overview.limits);
    this.#put('health', health, { node, now, cluster, storage, mongodb });
    this.#put('closes', closes, overview.closes);
  }

  // What has not changed stays, and with it what somebody has selected in it.
  #put(name, show, data) {
    const shown = JSON.stringify(data);
    if (this.#shown[name] === shown) return;
    this.#shown[name] = shown;
    replace(this.#parts[name], show(data));
  }

  // From the metrics, and so seldom: they are many.
  refresh = async () => {
    if (Date.now() - this.#measuredMs < LATENCY_EVERY_MS) return;
    this.#measuredMs = Date.now();
    const buckets = histogram(await ask('GET', '/metrics'), LATENCY);
    if (!buckets.length) return;
    const part = this.#parts.latency;
    const below = (share) => {
      const bound = quantile(buckets, this.#buckets ?? [], share);
      if (bound === null) return null;
      return bound === Infinity ? `more than ${milliseconds(buckets.at(-2)?.[0] * 1000)}` : milliseconds(bound * 1000);
    };
    const shares = [[0.5, 'Half within'], [0.99, '99 % within'], [1, 'All within']];
    replace(part, card('From emit to write',
      facts(shares.map(([share, name]) => [name, below(share) ?? 'nothing was written']))));
    part.hidden = false;
    this.#buckets = buckets;
  };
}

function pill(text, good) {
  return make('span', { className: good ? 'pill good' : 'pill bad' }, text);
}

function nodes({ node, now, cluster }) {
  const own = {
    name: node.name, own: true, version: node.version, state: node.phase, connections: now.connections, rooms: now.rooms,
  };
  const alive = (cluster.peers ?? []).filter((it) => it.alive);
  // What a dead node said last does not hold any more.
  const dead = deadOf(cluster).map((name) => ({ name, isDead: true }));
  const all = [own, ...alive, ...dead];
  const state = ({ isDead, state: told }) => (isDead ? pill('dead', false) : pill(told, told === 'ready'));
  const link = (it) => {
    if (it.own) return 'this node';
    if (it.isDead) return 'not heard of';
    if (!it.linked || !it.heard) return pill(it.linked ? 'one way out' : 'not linked', false);
    return pill(it.inStep ? 'linked' : 'linked, not in step', it.inStep);
  };
  const columns = [
    { title: 'Node', wide: true, show: ({ name }) => make('strong', {}, name) },
    { title: 'State', show: state },
    { title: 'Link', show: link },
    { title: 'Round trip', number: true, show: ({ roundTripMs }) => milliseconds(roundTripMs) },
    { title: 'Waiting', number: true, show: ({ waitingBytes }) => known(waitingBytes, bytes) },
    { title: 'Connections', number: true, show: ({ connections }) => known(connections, count) },
    { title: 'Rooms', number: true, show: ({ rooms }) => known(rooms, count) },
    { title: 'Version', show: ({ version }) => version },
  ];
  const title = cluster.clustered ? `Nodes of ${cluster.name}` : 'Node';
  return card(title, table(title, columns, all));
}

const known = (value, format) => (value === undefined ? null : format(value));

function errors(totals) {
  const rows = Object.entries(ERRORS).map(([name, title]) => ({ title, value: totals[name] }));
  return card('Errors since the start', table('Errors', [
    { title: 'What', show: ({ title }) => title },
    { title: 'Count', number: true, show: ({ value }) => count(value) },
  ], rows));
}

function limits(all) {
  const value = ({ key, value: limit }) => {
    if (limit === 0) return 'off';
    return key === 'limits.outbox' ? bytes(limit) : count(limit);
  };
  return card('Limits', table('Limits', [
    { title: 'Setting', wide: true, show: ({ key }) => make('code', {}, key) },
    { title: 'Limit', number: true, show: value },
    { title: 'Held back', number: true, show: ({ held }) => count(held) },
  ], all));
}

function health({ node, now, storage, mongodb, cluster }) {
  const told = ({ status, message }) =>
    make('span', { className: 'told' }, pill(status, status === 'ok'), message && make('span', {}, message));
  const pairs = [
    ['Up for', duration(node.uptimeSeconds)],
    ['Storage', told(storage)],
    ['Disk free', bytes(storage.freeBytes)],
    ['Storage calls', count(storage.callsUnderWay)],
    ['MongoDB', mongodb ? told(mongodb) : 'not used'],
    ['Shards', count(node.shards)],
    ['Commands waiting', count(now.mailboxCommands)],
    ['Jobs waiting', count(now.jobs)],
  ];
  if (cluster.clustered) {
    pairs.push(['Emits to peers', count(cluster.totals.forwarded)], ['Emits from peers', count(cluster.totals.received)],
      ['Dropped for peers', count(cluster.totals.dropped)]);
  }
  return card('Health', facts(pairs));
}

function closes(all) {
  const rows = Object.entries(all).filter(([, value]) => value > 0).sort(([, one], [, other]) => other - one);
  if (!rows.length) return card('Connections that ended', make('p', { className: 'quiet' }, 'None since the start.'));
  return card('Connections that ended', table('Connections that ended', [
    { title: 'Why', show: ([name]) => words(name) },
    { title: 'Count', number: true, show: ([, value]) => count(value) },
  ], rows));
}

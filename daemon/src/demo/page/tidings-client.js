// A small client for Socket.IO 5, on the main namespace and without binary attachments.
//
//   const client = new TidingsClient({ auth: { sessionID, userId } });
//   client.on('connect', ({ recovered }) => …);
//   client.on('watchlist:quote', (quote) => …);
//   const answer = await client.request('subscribe:watchlist', { symbols: ['AAPL'] });
//   client.connect();
//
// Its own events, which no server can send:
//   connect        {recovered}       the server accepted us; recovered: nothing was missed
//   disconnect     {reason, final}   final: the server or the page wants no more connections
//   connect_error  {code, message}   the server refused these credentials; we do not try again
//   reconnecting   {attempt, delay, reason, refusal}   the next attempt follows in `delay` ms
//   transport      name              'polling' or 'websocket'
//
// Protocol: docs/socket.io-protocol/v5-current.md in github.com/socketio/socket.io.

import { Engine } from './engine.js';

const TYPE = { connect: '0', disconnect: '1', event: '2', ack: '3', connectError: '4' };
const OWN_EVENTS = ['connect', 'disconnect', 'connect_error', 'reconnecting', 'transport'];
const PACKET = /^(\d)(?:\d+-)?(?:(\/[^,]*),?)?(\d*)(.*)$/s;

const DEFAULTS = {
  url: '/socket.io/',
  auth: {},
  transports: ['polling', 'websocket'],
  connectTimeout: 20_000, // from the first request to the server's CONNECT
  requestTimeout: 10_000,
  firstDelay: 500, // before the first new attempt; doubled for each one after it
  longestDelay: 10_000,
};

export class TidingsClient {
  connected = false;
  recovered = false;
  #options;
  #engine = null;
  #handlers = new Map();
  #requests = new Map(); // ack id → {resolve, reject, timer}
  #lastId = 0;
  #early = []; // Events that came before CONNECT: a server may replay missed ones first.
  #pid = null; // The name under which the server can recover this connection,
  #offset = null; // and the last event we have of it.
  #attempt = 0;
  #timer = null; // The next attempt, or the deadline of the present one.

  constructor(options = {}) {
    this.#options = { ...DEFAULTS, ...options };
  }

  get transport() {
    return this.#engine?.transport ?? null;
  }

  on(name, handler) {
    const handlers = this.#handlers.get(name) ?? [];
    this.#handlers.set(name, [...handlers, handler]);
    return this;
  }

  connect() {
    if (this.#engine) return;
    clearTimeout(this.#timer);
    addEventListener('online', this.#wake);
    document.addEventListener('visibilitychange', this.#wake);
    this.#open();
  }

  close() {
    if (this.connected) this.#engine.send(TYPE.disconnect);
    this.#stop({ reason: 'closed by the page', final: true });
  }

  // Sends an event; false if there is no connection to send it on.
  emit(name, ...args) {
    if (this.connected) this.#sendEvent('', name, args);
    return this.connected;
  }

  // Sends an event and waits for the server's acknowledgement.
  request(name, ...args) {
    if (!this.connected) return Promise.reject(new Error('not connected'));
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const expire = () =>
        this.#settle(id, ({ reject: fail }) => fail(new Error('no answer in time')));
      const timer = setTimeout(expire, this.#options.requestTimeout);
      this.#requests.set(id, { resolve, reject, timer });
      this.#sendEvent(id, name, args);
    });
  }

  // -- connection

  #open() {
    const engine = new Engine(new URL(this.#options.url, location.href), this.#options.transports, {
      onOpen: () => this.#introduce(),
      onMessage: (text) => this.#receive(text),
      onTransport: (name) => this.#tell('transport', name),
      onClose: (reason, refusal) => this.#lost(engine, reason, refusal),
    });
    this.#engine = engine;
    this.#timer = setTimeout(() => engine.close('connect timeout'), this.#options.connectTimeout);
  }

  #introduce() {
    const recovery = this.#pid ? { pid: this.#pid, offset: this.#offset ?? undefined } : {};
    this.#engine.send(TYPE.connect + JSON.stringify({ ...this.#options.auth, ...recovery }));
  }

  #welcome({ pid = null }) {
    clearTimeout(this.#timer);
    this.#attempt = 0;
    this.recovered = pid !== null && pid === this.#pid;
    if (!this.recovered) this.#offset = null; // An offset belongs to the pid it came with.
    this.#pid = pid;
    this.connected = true;
    this.#tell('connect', { recovered: this.recovered });
    for (const event of this.#early.splice(0)) this.#deliver(...event);
  }

  // The transport is gone: everything but what recovery needs is forgotten, and we come back.
  #lost(engine, reason, refusal) {
    if (engine !== this.#engine) return;
    this.#forget({ reason, final: false });
    const delay = this.#delay(refusal);
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.#open(), delay);
    this.#tell('reconnecting', { attempt: this.#attempt, delay, reason, refusal });
  }

  // Spread out by half either way, so that a restarted server is not met by everyone at once.
  #delay(refusal) {
    const { firstDelay, longestDelay } = this.#options;
    const nominal = Math.min(firstDelay * 2 ** this.#attempt, longestDelay);
    return Math.max(nominal * (0.5 + Math.random()), (refusal?.retryAfter ?? 0) * 1000);
  }

  #stop(end) {
    removeEventListener('online', this.#wake);
    document.removeEventListener('visibilitychange', this.#wake);
    const engine = this.#engine;
    this.#forget(end);
    engine?.close();
    this.#pid = null;
    this.#offset = null;
    this.#attempt = 0;
  }

  #forget(end) {
    clearTimeout(this.#timer);
    const wasConnected = this.connected;
    this.connected = false;
    this.#engine = null;
    this.#early = [];
    for (const id of [...this.#requests.keys()]) {
      this.#settle(id, ({ reject }) => reject(new Error('the connection was lost')));
    }
    if (wasConnected) this.#tell('disconnect', end);
  }

  // The network or the page is back: no need to sit out a delay.
  #wake = (event) => {
    if (document.hidden) return;
    if (this.#engine) this.#engine.checkHeartbeat();
    else if (event.type === 'online') {
      clearTimeout(this.#timer);
      this.#open();
    }
  };

  // -- packets

  #receive(text) {
    const packet = parse(text);
    if (!packet) return this.#engine.close('parse error');
    if (packet.namespace !== '/') return undefined;
    return this.#handle(packet.type, packet.id, packet.data);
  }

  #handle(type, id, data) {
    switch (type) {
      case TYPE.connect:
        return this.#welcome(data ?? {});
      case TYPE.event:
        return this.connected ? this.#deliver(id, data) : void this.#early.push([id, data]);
      case TYPE.ack:
        return this.#settle(Number(id), ({ resolve }) => resolve(data[0]));
      case TYPE.disconnect:
        return this.#stop({ reason: 'ended by the server', final: true });
      case TYPE.connectError:
        this.#stop({ reason: 'refused', final: true });
        return this.#tell('connect_error', { code: data?.data?.code, message: data?.message });
      default: // Binary packets: not for this client.
        return undefined;
    }
  }

  #deliver(id, [name, ...args]) {
    if (OWN_EVENTS.includes(name)) return;
    const answer = (...values) => this.#engine?.send(TYPE.ack + id + JSON.stringify(values));
    this.#tell(name, ...args, ...(id ? [answer] : []));
    const last = args.at(-1);
    if (typeof last === 'string') this.#offset = last;
  }

  #sendEvent(id, name, args) {
    this.#engine.send(TYPE.event + id + JSON.stringify([name, ...args]));
  }

  #settle(id, how) {
    const request = this.#requests.get(id);
    if (!request) return;
    this.#requests.delete(id);
    clearTimeout(request.timer);
    how(request);
  }

  // A handler that throws is reported and costs nobody else anything.
  #tell(name, ...args) {
    for (const handler of this.#handlers.get(name) ?? []) {
      try {
        handler(...args);
      } catch (error) {
        reportError(error);
      }
    }
  }
}

// A packet taken apart; nothing if it is none.
function parse(text) {
  const [, type, namespace = '/', id, json] = PACKET.exec(text) ?? [];
  let data;
  try {
    data = json ? JSON.parse(json) : undefined;
  } catch {
    return null;
  }
  const isEvent = Array.isArray(data) && data.length > 0;
  const shaped = { [TYPE.event]: isEvent, [TYPE.ack]: Array.isArray(data) }[type] ?? true;
  return type && shaped ? { type, namespace, id, data } : null;
}

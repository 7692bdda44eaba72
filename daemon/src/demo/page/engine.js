// Engine.IO 4: one session between this page and the server. It opens by long polling, which
// always gets through and can read why a server refuses, then moves up to a WebSocket where one
// can be had.
//
// Protocol: docs/engine.io-protocol/v4-current.md in github.com/socketio/socket.io.

const SEPARATOR = '\x1e';
const PACKET = {
  open: '0',
  close: '1',
  ping: '2',
  pong: '3',
  message: '4',
  upgrade: '5',
  noop: '6',
  binary: 'b',
};

export class Engine {
  #url;
  #transports;
  #hooks;
  #abort = new AbortController();
  #handshake = null;
  #queue = [];
  #polling = false; // Polls are being made.
  #polls = Promise.resolve(); // Settles when the last poll was answered.
  #posting = null; // The POST under way: the protocol allows one at a time.
  #moving = false; // Between the probe's answer and the upgrade: nothing may be sent.
  #socket = null; // The WebSocket, once it carries the session.
  #pingDue = 0;
  #heartbeat = null;
  #closed = false;

  // hooks: onOpen(), onMessage(text), onTransport(name); onClose(reason, refusal) once, at the end.
  constructor(url, transports, hooks) {
    this.#url = url;
    this.#transports = transports;
    this.#hooks = hooks;
    if (transports.includes('polling')) this.#openPolling();
    else this.#openWebSocket();
  }

  get transport() {
    return this.#socket ? 'websocket' : 'polling';
  }

  send(text) {
    this.#write(PACKET.message + text);
  }

  close(reason = 'closed') {
    if (this.#closed) return;
    if (this.#handshake && !this.#socket) this.#leavePolling();
    this.#end(reason);
  }

  // Timers sleep while a page is hidden or a machine is: ask again when either wakes.
  checkHeartbeat() {
    if (this.#handshake && Date.now() > this.#pingDue) this.#end('ping timeout');
  }

  // -- long polling

  async #openPolling() {
    try {
      const response = await this.#fetch('GET');
      if (!response.ok) return this.#end('refused', await refusal(response));
      this.#receive(await response.text());
    } catch {
      return this.#end('unreachable');
    }
    if (!this.#handshake) return this.#end('bad handshake');
    this.#polls = this.#poll();
    if (this.#transports.includes('websocket') && this.#handshake.upgrades.includes('websocket')) {
      this.#probe();
    }
  }

  async #poll() {
    this.#polling = true;
    while (this.#polling && !this.#closed) {
      try {
        const response = await this.#fetch('GET');
        if (!response.ok) return this.#end('transport error');
        this.#receive(await response.text());
      } catch {
        return this.#end('transport error');
      }
    }
  }

  async #post() {
    while (this.#queue.length && !this.#moving && !this.#closed) {
      const body = takePayload(this.#queue, this.#handshake.maxPayload);
      try {
        const response = await this.#fetch('POST', body);
        if (!response.ok) return this.#end('transport error');
      } catch {
        return this.#end('transport error');
      }
    }
    this.#posting = null;
  }

  #leavePolling() {
    const farewell = { method: 'POST', body: [...this.#queue, PACKET.close].join(SEPARATOR) };
    fetch(this.#address('polling'), { ...farewell, keepalive: true }).catch(() => {});
  }

  #fetch(method, body) {
    const headers = body ? { 'Content-Type': 'text/plain;charset=UTF-8' } : {};
    const options = { method, body, headers, cache: 'no-store', signal: this.#abort.signal };
    return fetch(this.#address('polling'), options);
  }

  // -- WebSocket

  #openWebSocket() {
    this.#adopt(new WebSocket(this.#address('websocket')));
  }

  // Asks whether a WebSocket can take over. If not, polling goes on as if nothing had been tried.
  #probe() {
    const socket = new WebSocket(this.#address('websocket'));
    const giveUp = () => socket.close();
    this.#abort.signal.addEventListener('abort', giveUp, { once: true });
    socket.onopen = () => socket.send(`${PACKET.ping}probe`);
    socket.onmessage = ({ data }) => {
      if (data === `${PACKET.pong}probe`) this.#move(socket);
      else giveUp();
    };
  }

  // What was polled and posted must have arrived before the WebSocket carries anything, or order
  // is lost.
  async #move(socket) {
    socket.onmessage = null;
    this.#moving = true;
    this.#polling = false;
    await Promise.all([this.#polls, this.#posting]);
    this.#moving = false;
    if (this.#closed) return;
    if (socket.readyState === WebSocket.OPEN) {
      socket.send(PACKET.upgrade);
      this.#adopt(socket);
      this.#hooks.onTransport('websocket');
    } else {
      this.#polls = this.#poll();
    }
    this.#flush();
  }

  #adopt(socket) {
    this.#socket = socket;
    this.#abort.signal.addEventListener('abort', () => socket.close(), { once: true });
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = () => this.#end(this.#handshake ? 'transport close' : 'unreachable');
  }

  // -- packets

  #receive(payload) {
    if (typeof payload !== 'string') return; // An attachment, on a WebSocket.
    for (const packet of this.#socket ? [payload] : payload.split(SEPARATOR)) {
      if (this.#closed) return;
      this.#handle(packet[0], packet.slice(1));
    }
  }

  #handle(type, data) {
    switch (type) {
      case PACKET.open:
        return this.#open(data);
      case PACKET.message:
        return this.#hooks.onMessage(data);
      case PACKET.ping:
        this.#expectPing();
        return this.#write(PACKET.pong + data);
      case PACKET.close:
        return this.#end('transport close');
      case PACKET.noop:
      case PACKET.binary: // An attachment: this client asks for none.
        return undefined;
      default:
        return this.#end('parse error');
    }
  }

  #open(data) {
    try {
      this.#handshake = JSON.parse(data);
    } catch {
      return this.#end('bad handshake');
    }
    this.#expectPing();
    return this.#hooks.onOpen();
  }

  #expectPing() {
    const allowance = this.#handshake.pingInterval + this.#handshake.pingTimeout;
    this.#pingDue = Date.now() + allowance;
    clearTimeout(this.#heartbeat);
    this.#heartbeat = setTimeout(() => this.#end('ping timeout'), allowance);
  }

  #write(packet) {
    if (this.#closed) return;
    this.#queue.push(packet);
    this.#flush();
  }

  #flush() {
    if (this.#closed || this.#moving) return;
    if (this.#socket) {
      for (const packet of this.#queue.splice(0)) this.#socket.send(packet);
    } else if (!this.#posting && this.#queue.length) {
      this.#posting = this.#post();
    }
  }

  #address(transport) {
    const url = new URL(this.#url);
    if (transport === 'websocket') url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    url.searchParams.set('EIO', '4');
    url.searchParams.set('transport', transport);
    if (this.#handshake) url.searchParams.set('sid', this.#handshake.sid);
    return url;
  }

  // The one way a session ends.
  #end(reason, refused) {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#heartbeat);
    this.#abort.abort();
    this.#hooks.onClose(reason, refused);
  }
}

// As many packets as one request may carry, but at least one.
function takePayload(queue, limit) {
  const size = (text) => new TextEncoder().encode(text).length;
  let bytes = size(queue[0]);
  let count = 1;
  while (count < queue.length && bytes + 1 + size(queue[count]) <= limit) {
    bytes += 1 + size(queue[count]);
    count += 1;
  }
  return queue.splice(0, count).join(SEPARATOR);
}

// What an HTTP error says: its body where that is ours, and how long to stay away.
async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  const seconds = Number(response.headers.get('Retry-After'));
  return {
    status: response.status,
    code: body.code,
    message: body.message,
    retryAfter: Number.isFinite(seconds) ? seconds : 0,
  };
}

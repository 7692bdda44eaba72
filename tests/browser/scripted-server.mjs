// A Socket.IO server that does exactly what a test tells it, and nothing by itself but the
// handshake. It also serves the modules of the demo page, so that a page of its origin can
// import them.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';

const PAGE = new URL('../../daemon/src/demo/page/', import.meta.url);
const SEPARATOR = '\x1e';
const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'; // RFC 6455, section 1.3

export class ScriptedServer {
  handshake = { upgrades: [], pingInterval: 25_000, pingTimeout: 20_000, maxPayload: 1_000_000 };
  sessions = []; // Every handshake that was accepted, oldest first.
  attempts = 0; // Every handshake that was asked for.
  refuse = null; // (attempt) → {status, headers, body}, or nothing to accept.
  upgrade = true; // Whether WebSockets are let through.
  #refused;
  upgradeRefused = new Promise((resolve) => {
    this.#refused = resolve;
  });
  probeAnswer = Promise.resolve(); // When it settles, a WebSocket's probe is answered.
  #waiting = [];
  #http = createServer((request, response) => this.#answer(request, response));

  constructor() {
    this.#http.on('upgrade', (request, socket) => this.#upgrade(request, socket));
  }

  async listen() {
    this.#http.listen(0, '127.0.0.1');
    await once(this.#http, 'listening');
    return `http://127.0.0.1:${this.#http.address().port}`;
  }

  close() {
    this.sessions.forEach((session) => session.drop());
    this.#http.closeAllConnections();
    this.#http.close();
  }

  // The nth session, when it exists.
  async session(number) {
    while (this.sessions.length <= number)
      await new Promise((resolve) => this.#waiting.push(resolve));
    return this.sessions[number];
  }

  async #answer(request, response) {
    const url = new URL(request.url, 'http://server');
    if (url.pathname !== '/socket.io/') return serveFile(url.pathname, response);
    const sid = url.searchParams.get('sid');
    if (!sid) return this.#open(response);
    const session = this.sessions[Number(sid)];
    if (session.dropped)
      return response.writeHead(400).end('{"code":1,"message":"Session ID unknown"}');
    return request.method === 'POST' ? session.post(request, response) : session.poll(response);
  }

  #open(response) {
    const refusal = this.refuse?.(this.attempts++);
    if (refusal) return response.writeHead(refusal.status, refusal.headers).end(refusal.body);
    const session = new Session();
    this.sessions.push(session);
    const sid = String(this.sessions.length - 1);
    response.end(`0${JSON.stringify({ sid, ...this.handshake })}`);
    this.#waiting.splice(0).forEach((resolve) => resolve());
  }

  #upgrade(request, socket) {
    socket.on('error', () => {});
    if (!this.upgrade) {
      socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n');
      return this.#refused();
    }
    const key = request.headers['sec-websocket-key'] + WEBSOCKET_GUID;
    const accept = createHash('sha1').update(key).digest('base64');
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
        `Sec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    const sid = new URL(request.url, 'http://server').searchParams.get('sid');
    return this.sessions[Number(sid)].probe(socket, this.probeAnswer);
  }
}

class Session {
  dropped = false;
  bodies = []; // Every POST, as it came.
  network = Promise.resolve(); // Answers to polls are on their way until it settles.
  #received = [];
  #wanted = [];
  #queue = [];
  #poll = null;
  #socket = null;

  // The next packet from the client.
  async next() {
    while (!this.#received.length) await new Promise((resolve) => this.#wanted.push(resolve));
    return this.#received.shift();
  }

  // Reads the client's CONNECT and answers it; returns the credentials it carried.
  async welcome(answer = { sid: 'socket' }) {
    const packet = await this.next();
    if (!packet.startsWith('40')) throw new Error(`expected CONNECT, got ${packet}`);
    this.send(`40${JSON.stringify(answer)}`);
    return JSON.parse(packet.slice(2));
  }

  send(...packets) {
    if (this.#socket) packets.forEach((packet) => this.#socket.write(textFrame(packet)));
    else this.#queue.push(...packets);
    this.#flush();
  }

  // The transport is gone, as after a crash.
  drop() {
    this.dropped = true;
    this.#poll?.writeHead(400).end();
    this.#poll = null;
    this.#socket?.destroy();
  }

  poll(response) {
    this.#poll = response;
    this.#flush();
  }

  async post(request, response) {
    const body = Buffer.concat(await request.toArray()).toString();
    this.bodies.push(body);
    response.end('ok');
    this.#take(body.split(SEPARATOR));
  }

  probe(socket, answer) {
    readFrames(socket, async (text) => {
      if (text === '2probe') {
        await answer;
        this.#queue.push('6');
        this.#flush();
        socket.write(textFrame('3probe'));
      } else if (text === '5') {
        this.#socket = socket;
        this.send(...this.#queue.splice(0));
        this.#take(['5']);
      } else {
        this.#take([text]);
      }
    });
  }

  #flush() {
    if (!this.#poll || !this.#queue.length) return;
    const [poll, body] = [this.#poll, this.#queue.splice(0).join(SEPARATOR)];
    this.#poll = null;
    this.network.then(() => poll.end(body));
  }

  #take(packets) {
    this.#received.push(...packets);
    this.#wanted.splice(0).forEach((resolve) => resolve());
  }
}

// -- WebSocket frames: short, whole, text (RFC 6455, section 5.2)

function textFrame(text) {
  const payload = Buffer.from(text);
  if (payload.length > 125) throw new Error('this server sends short frames only');
  return Buffer.concat([Buffer.from([0x81, payload.length]), payload]);
}

function readFrames(socket, onText) {
  let bytes = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 6 && bytes.length >= 6 + (bytes[1] & 0x7f)) {
      const length = bytes[1] & 0x7f;
      const mask = bytes.subarray(2, 6);
      const payload = bytes.subarray(6, 6 + length).map((byte, index) => byte ^ mask[index % 4]);
      const isText = (bytes[0] & 0x0f) === 1;
      bytes = bytes.subarray(6 + length);
      if (isText) onText(payload.toString());
    }
  });
}

async function serveFile(path, response) {
  if (path === '/blank')
    return response.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html>');
  const file = await readFile(new URL(`.${path}`, PAGE)).catch(() => null);
  if (!file) return response.writeHead(404).end();
  return response.writeHead(200, { 'Content-Type': 'text/javascript' }).end(file);
}

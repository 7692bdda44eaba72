// One user's live view: the connection, its state, and where each event goes.

import * as format from './format.js';
import { Portfolio } from './portfolio.js';
import { TidingsClient } from './tidings-client.js';
import { toast, Trades } from './trades.js';
import { Watchlist } from './watchlist.js';

// Each measurement is an event that counts against the user's limit, so they are few.
const LATENCY_EVERY_MS = 10_000;
const NEWS_MS = 8_000; // How long "nothing missed" stays before it is plain "Live" again.
const QUIET_WAIT_MS = 3_000; // A longer wait is shown with the time of the next attempt.
const RETRY_S = 10; // Where the server does not say when to ask again.
const TRANSPORTS = { polling: 'Long polling', websocket: 'WebSocket' };

const byId = (id) => document.getElementById(id);

export class Dashboard {
  #client;
  #onEnd;
  #watchlist;
  #portfolio = new Portfolio();
  #trades = new Trades();
  #leaving = new Set(); // Symbols removed here, of which the server may not know yet.
  #again; // The next try at subscriptions that the server put off.
  #measuring;
  #news;
  #wasLive = false;

  // onEnd(reason) is called when the server does not want this session any more.
  constructor({ sessionID, userId }, onEnd) {
    this.#onEnd = onEnd;
    this.#watchlist = new Watchlist(userId, (symbol) => this.#unwatch(symbol));
    this.#client = new TidingsClient({ auth: { sessionID, userId }, transports: transports() });
    this.#measuring = setInterval(() => this.#measure(), LATENCY_EVERY_MS);
    byId('user').textContent = userId;
    this.#showState('connecting', 'Connecting…');
    this.#listen();
    this.#client.connect();
  }

  end() {
    clearInterval(this.#measuring);
    clearTimeout(this.#news);
    clearTimeout(this.#again);
    this.#client.close();
  }

  // The problem as a sentence; empty if the symbol is watched now.
  async watch(symbol) {
    if (this.#watchlist.has(symbol)) return `You are watching ${symbol} already.`;
    const answer = await this.#ask('subscribe:watchlist', { symbols: [symbol] });
    const refused = answer.ok
      ? answer.rejected?.find(({ value }) => value === symbol)
      : answer.error;
    if (refused) return format.sentence(refused);
    this.#leaving.delete(symbol);
    this.#watchlist.add(symbol);
    return '';
  }

  #unwatch(symbol) {
    this.#watchlist.remove(symbol);
    this.#leaving.add(symbol);
    this.#leave();
  }

  #listen() {
    this.#client
      .on('connect', ({ recovered }) => this.#connected(recovered))
      .on('transport', () => this.#showTransport())
      .on('disconnect', ({ final }) => final && this.#onEnd('The server ended this session.'))
      .on('connect_error', (error) => this.#onEnd(format.sentence(error)))
      .on('reconnecting', (next) => this.#showWaiting(next))
      .on('error', (error) => toast('error', 'Refused', format.sentence(error)))
      .on('portfolio:updated', (portfolio) => this.#portfolio.show(portfolio))
      .on('trade:executed', (trade) => this.#trades.executed(trade))
      .on('trade:failed', (trade) => this.#trades.failed(trade))
      .on('watchlist:quote', (quote) => this.#watchlist.show(quote));
  }

  // -- subscriptions

  // A recovered connection still has its rooms and missed nothing; any other begins anew.
  async #connected(recovered) {
    byId('dashboard').classList.remove('stale');
    this.#showTransport();
    if (this.#wasLive && !recovered) this.#trades.mayHaveMissed();
    await (recovered ? this.#leave() : this.#subscribeAll());
    if (!this.#client.connected) return;
    if (!this.#wasLive) this.#showState('live', 'Live');
    else if (recovered) this.#showNews('recovered', 'Live, nothing missed');
    else this.#showNews('refreshed', 'Live, refreshed');
    this.#wasLive = true;
    this.#measure();
  }

  async #subscribeAll() {
    clearTimeout(this.#again);
    this.#leaving.clear();
    const { symbols } = this.#watchlist;
    const answers = await Promise.all([
      this.#ask('subscribe:portfolio'),
      this.#ask('subscribe:trades'),
      symbols.length ? this.#ask('subscribe:watchlist', { symbols }) : { ok: true },
    ]);
    if (!this.#client.connected) return; // Then the next connection subscribes.
    const refused = answers.find(({ ok }) => !ok);
    if (refused) this.#subscribeLater(refused.error);
    for (const { value, code } of answers.flatMap(({ rejected = [] }) => rejected)) {
      this.#watchlist.note(value, 'refused');
      toast('error', `${value} is not watched`, format.sentence({ code }));
    }
  }

  #subscribeLater(error) {
    toast('error', 'Not everything is subscribed', format.sentence(error));
    const wait = (error.retryAfter ?? RETRY_S) * 1000;
    this.#again = setTimeout(() => this.#client.connected && this.#subscribeAll(), wait);
  }

  async #leave() {
    const symbols = [...this.#leaving];
    if (!symbols.length || !this.#client.connected) return;
    const { ok } = await this.#ask('unsubscribe:watchlist', { symbols });
    if (ok) symbols.forEach((symbol) => this.#leaving.delete(symbol));
  }

  // The acknowledgement, also of a request that got none.
  #ask(event, ...args) {
    const lost = { ok: false, error: { code: 'no_connection' } };
    return this.#client.request(event, ...args).catch(() => lost);
  }

  // -- what the header says

  // Subscribing again to what we have is harmless, so its acknowledgement tells the round trip.
  async #measure() {
    if (!this.#client.connected || document.hidden) return;
    const began = performance.now();
    const { ok } = await this.#ask('subscribe:portfolio');
    if (ok) byId('latency').textContent = milliseconds(performance.now() - began);
  }

  #showTransport() {
    byId('transport').textContent = TRANSPORTS[this.#client.transport] ?? '';
  }

  #showWaiting({ delay, refusal }) {
    byId('dashboard').classList.toggle('stale', this.#wasLive);
    byId('transport').textContent = '';
    byId('latency').textContent = '';
    const why = refusal?.code === 'rate_limited' ? 'Too many connections' : 'Offline';
    const when = format.clock(Date.now() + delay);
    const text = delay < QUIET_WAIT_MS ? 'Reconnecting…' : `${why}, next try at ${when}`;
    this.#showState('reconnecting', text);
  }

  #showNews(state, text) {
    this.#showState(state, text);
    this.#news = setTimeout(() => this.#showState('live', 'Live'), NEWS_MS);
  }

  #showState(state, text) {
    clearTimeout(this.#news);
    byId('connection').dataset.state = state;
    byId('connection').textContent = text;
  }
}

function milliseconds(duration) {
  return duration < 10 ? `${duration.toFixed(1)} ms` : `${Math.round(duration)} ms`;
}

// `?transport=polling` or `?transport=websocket` keeps to that one.
function transports() {
  const wanted = new URLSearchParams(location.search).get('transport');
  return wanted in TRANSPORTS ? [wanted] : Object.keys(TRANSPORTS);
}

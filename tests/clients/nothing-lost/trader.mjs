// A client that is cut off now and then, and comes back to any node.
import { io } from "socket.io-client";
import { Judge } from "./judge.mjs";

const TRANSPORTS = [["websocket"], ["polling"], ["polling", "websocket"]];

/** How long an answer to a subscription is waited for before it is asked again. */
const ANSWERED_MS = 10_000;

const any = (list) => list[Math.floor(Math.random() * list.length)];

export class Trader {
  /**
   * `options`: `urls` of all nodes, `first` of where to begin, `offlineMs` before each try to come
   * back, `timeoutMs` of a try, `cutMs` between cuts on average or 0.
   */
  constructor(number, account, options) {
    const transports = options.transports ?? TRANSPORTS[number % TRANSPORTS.length];
    this.options = options;
    this.account = account;
    this.judge = new Judge(account, `client ${number} of ${account.user}, ${transports}`);
    this.figures = { cuts: 0, disconnects: 0, recoveries: 0, toldFalse: 0, failedTries: 0 };
    /** In milliseconds, of each recovery: since the first try, and since the connection was lost. */
    this.times = { back: [], away: [] };
    this.socket = io(options.first ?? any(options.urls), {
      auth: { userId: account.user },
      forceNew: true,
      transports,
      timeout: options.timeoutMs,
      reconnectionDelay: options.offlineMs,
      reconnectionDelayMax: options.offlineMs,
      randomizationFactor: 0.1,
    });
    this.listen();
    this.cutLater();
  }

  listen() {
    const { socket, judge, figures } = this;
    // The library comes back to one address; which one is looked up at each try.
    socket.io.on("reconnect_attempt", () => {
      socket.io.uri = any(this.options.urls);
      this.tried ??= Date.now();
      judge.note(`try ${socket.io.uri}`);
    });
    socket.io.on("reconnect_error", (error) => {
      figures.failedTries += 1;
      judge.note(`failed: ${error.message}`);
    });
    socket.on("trade:executed", ({ n }, offset) => judge.trade(n, offset));
    socket.on("connect", () => this.onConnect());
    socket.on("connect_error", (error) => {
      judge.note(`connect_error ${error.message}`);
      if (!socket.active) judge.wrong(`refused for good: ${error.message}`);
    });
    socket.on("disconnect", (reason) => {
      this.lost = Date.now();
      this.isUp = false;
      this.tried = null;
      figures.disconnects += 1;
      judge.note(`disconnect ${reason}, offset ${socket._lastOffset}`);
      if (!socket.active) judge.wrong(`sent away: ${reason}`);
    });
  }

  onConnect() {
    const { socket, judge, figures } = this;
    const name = socket.io.engine.transport.name;
    judge.note(`connect ${socket.recovered} ${socket.id} over ${name}`);
    if (this.isUp) judge.wrong("connected twice");
    this.isUp = true;
    if (this.lost && socket.recovered) {
      figures.recoveries += 1;
      this.times.back.push(Date.now() - this.tried);
      this.times.away.push(Date.now() - this.lost);
    } else if (this.lost) {
      figures.toldFalse += 1;
      judge.toldFalse();
      if (this.options.strict) judge.wrong("told false");
    }
    if (judge.due === null) this.subscribe();
  }

  subscribe() {
    const { socket, judge } = this;
    const id = socket.id;
    socket.timeout(ANSWERED_MS).emit("subscribe:trades", (error, answer) => {
      // Unanswered, it is asked again; on a new connection that begins by itself.
      if (!socket.connected || socket.id !== id) return;
      if (error) this.subscribe();
      else if (answer.ok) judge.subscribed(this.account.emitted);
      else {
        judge.note(`not subscribed: ${JSON.stringify(answer)}`);
        setTimeout(() => socket.id === id && this.subscribe(), 500);
      }
    });
  }

  cutLater() {
    const { cutMs } = this.options;
    if (!cutMs) return;
    const timer = setTimeout(
      () => {
        if (this.isCalm) return;
        if (this.options.cutting() && this.judge.first !== null) this.cut();
        this.cutLater();
      },
      cutMs * (0.5 + Math.random()),
    );
    timer.unref();
  }

  /**
   * As a network would, in a turn of its own: the library keeps an event that it has decoded and
   * not handed out when the application itself closes the engine, and hands it out after the
   * return, next to the replay of the same event.
   */
  cut() {
    const transport = this.socket.io.engine?.transport;
    if (!this.socket.connected || !transport) return;
    this.figures.cuts += 1;
    this.judge.note("cut");
    if (transport.name === "websocket") transport.ws?._socket?.destroy();
    else setImmediate(() => transport.onError?.("cut"));
  }

  /** No more cuts. */
  calm() {
    this.isCalm = true;
  }

  isSettled() {
    return this.socket.connected && this.judge.isUpToDate();
  }
}

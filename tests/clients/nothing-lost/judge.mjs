// What a client must have got, by the numbers of its user's trades. Trade n + 1 is emitted after n
// was answered, so that their order is the order of the numbers.
const NOTES = 40;

/** The trades of a user: what was emitted, and which of them are promised. */
export class Account {
  constructor(user) {
    this.user = user;
    /** How many have been asked for; the first request for the next one is still to be sent. */
    this.emitted = 0;
    /** By number, whether it was answered that it is kept. */
    this.kept = [];
    /** While one is on its way, no other is sent. */
    this.busy = false;
  }
}

/** Sees everything that happens to one client. */
export class Judge {
  constructor(account, name) {
    this.account = account;
    this.name = name;
    this.figures = { delivered: 0, repeated: 0, outOfOrder: 0, unkeptMissed: 0 };
    /** From this number on each must come; null while no subscription is acknowledged. */
    this.due = null;
    /** The same of the first subscription. */
    this.first = null;
    this.last = -1;
    this.seen = new Set();
    /** Promised, and passed over without a word so far. */
    this.gap = new Set();
    this.notes = [];
    /** What was wrong, each with the notes of that moment. */
    this.problems = [];
  }

  note(what) {
    this.notes.push(`${new Date().toISOString().slice(11, 23)} ${what}`);
    if (this.notes.length > NOTES) this.notes.shift();
  }

  wrong(what) {
    this.note(`WRONG: ${what}`);
    console.error(`${this.name}: ${this.notes.at(-1)}`);
    this.problems.push({ what, notes: [...this.notes] });
  }

  subscribed(due) {
    this.note(`subscribed, due from ${due}`);
    this.due = due;
    this.first ??= due;
  }

  /** What it missed is no secret any more; it has to subscribe anew. */
  toldFalse() {
    this.due = null;
    this.gap.clear();
  }

  trade(n, offset) {
    this.note(`trade ${n} ${offset}`);
    this.figures.delivered += 1;
    if (this.seen.has(n)) {
      this.figures.repeated += 1;
      this.wrong(`trade ${n} came again after ${this.last}`);
      return;
    }
    this.seen.add(n);
    if (n < this.last) {
      this.figures.outOfOrder += 1;
      this.gap.delete(n);
      this.wrong(`trade ${n} came after ${this.last}`);
      return;
    }
    this.passOver(n);
    this.last = n;
  }

  /** Takes note of all that should have come before `end` and did not. */
  passOver(end) {
    if (this.due === null) return;
    const begin = Math.max(this.due, this.last + 1);
    for (let n = begin; n < end; n += 1) {
      if (this.account.kept[n]) this.gap.add(n);
      else this.figures.unkeptMissed += 1;
    }
    // Whoever is on a branch that will be dropped is told later: judged at the end.
    if (this.gap.size > 0 && begin < end) this.note(`passed over ${begin} to ${end - 1}`);
  }

  /** Whether it has the last trade that was promised. */
  isUpToDate() {
    const { kept } = this.account;
    const promised = kept.lastIndexOf(true);
    return this.due !== null && (this.last >= promised || promised < this.due);
  }

  /** Says at the end what never came; returns how many it missed where it was told `false`. */
  end() {
    this.passOver(this.account.kept.length);
    if (this.gap.size > 0) this.wrong(`missed without a word: ${[...this.gap].join(", ")}`);
    const { kept } = this.account;
    let missed = 0;
    for (let n = this.first ?? kept.length; n < kept.length; n += 1) {
      if (kept[n] && !this.seen.has(n) && !this.gap.has(n)) missed += 1;
    }
    return missed;
  }
}

// Trade notices: a list of the latest, and a toast for each new one.

import * as format from './format.js';

const KEPT = 50;
const TOASTS = 3;
const TOAST_MS = 6_000;

export class Trades {
  #list = document.getElementById('trades');
  #empty = document.getElementById('trades-empty');
  #gap = document.getElementById('trades-gap');
  #template = document.getElementById('trade-item');

  constructor() {
    this.#list.replaceChildren();
    this.#empty.hidden = false;
    this.#gap.hidden = true;
  }

  executed(trade) {
    const { side, quantity, symbol, price } = trade;
    const verb = side === 'sell' ? 'Sold' : 'Bought';
    this.#add(
      'executed',
      trade,
      `${verb} ${format.quantity(quantity)} ${symbol} at ${format.price(price)}`,
    );
  }

  failed(trade) {
    const { side, quantity, symbol, reason } = trade;
    const order = side === 'sell' ? 'Sale' : 'Purchase';
    this.#add('failed', trade, `${order} of ${format.quantity(quantity)} ${symbol}: ${reason}`);
  }

  // The server could not prove that nothing was missed, so we say so.
  mayHaveMissed() {
    this.#gap.textContent = `Notices may be missing from before ${format.clock(Date.now())}.`;
    this.#gap.hidden = false;
  }

  #add(outcome, { tradeId, time }, text) {
    const item = this.#template.content.cloneNode(true).querySelector('li');
    const title = outcome === 'executed' ? 'Executed' : 'Failed';
    item.dataset.outcome = outcome;
    item.dataset.trade = tradeId;
    item.querySelector('.badge').textContent = title;
    item.querySelector('.what').textContent = text;
    item.querySelector('time').textContent = format.clock(time);
    item.querySelector('time').dateTime = time;
    this.#list.prepend(item);
    while (this.#list.children.length > KEPT) this.#list.lastElementChild.remove();
    this.#empty.hidden = true;
    toast(outcome, `Trade ${title.toLowerCase()}`, text);
  }
}

export function toast(outcome, title, text) {
  const toasts = document.getElementById('toasts');
  const element = document.createElement('div');
  const heading = document.createElement('strong');
  heading.textContent = title;
  element.className = 'toast';
  element.dataset.outcome = outcome;
  element.append(heading, text);
  toasts.append(element);
  while (toasts.children.length > TOASTS) toasts.firstElementChild.remove();
  setTimeout(() => element.remove(), TOAST_MS);
}

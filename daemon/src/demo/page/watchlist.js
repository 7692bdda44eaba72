// The symbols a user watches: one row each, and the list itself, kept for the next visit.

import * as format from './format.js';
import { Sparkline } from './sparkline.js';

const DEFAULT_SYMBOLS = ['AAPL', 'MSFT', 'NVDA', '^GSPC', 'BTC-USD', 'EURUSD=X'];

export class Watchlist {
  #body = document.getElementById('quotes');
  #empty = document.getElementById('quotes-empty');
  #template = document.getElementById('quote-row');
  #rows = new Map(); // symbol → {row, sparkline, price}
  #key;
  #onRemove;

  constructor(user, onRemove) {
    this.#key = `tidings.watchlist.${user}`;
    this.#onRemove = onRemove;
    this.#body.replaceChildren();
    this.#load().forEach((symbol) => this.#addRow(symbol));
    this.#changed();
  }

  get symbols() {
    return [...this.#rows.keys()];
  }

  has(symbol) {
    return this.#rows.has(symbol);
  }

  add(symbol) {
    if (this.has(symbol)) return;
    this.#addRow(symbol);
    this.#changed();
  }

  remove(symbol) {
    this.#rows.get(symbol)?.row.remove();
    this.#rows.delete(symbol);
    this.#changed();
  }

  show(quote) {
    const entry = this.#rows.get(quote.symbol);
    if (!entry || typeof quote.price !== 'number') return; // Removed while the quote was under way.
    const { row, sparkline, price } = entry;
    const cell = row.querySelector('.price');
    cell.textContent = format.price(quote.price);
    if (price !== null) flash(cell, quote.price - price);
    entry.price = quote.price;
    sparkline.add(quote.price);
    const change = row.querySelector('.change');
    format.showChange(change, quote.change, format.percent(quote.changePercent));
    row.querySelector('.volume').textContent = format.volume(quote.volume);
    row.dataset.time = quote.time;
  }

  // A word in a row that gets no quotes, in place of its price.
  note(symbol, text) {
    const entry = this.#rows.get(symbol);
    if (entry) entry.row.querySelector('.change').textContent = text;
  }

  #addRow(symbol) {
    const row = this.#template.content.cloneNode(true).querySelector('tr');
    const sparkline = new Sparkline();
    row.dataset.symbol = symbol;
    row.querySelector('.symbol').textContent = symbol;
    row.querySelector('.name').textContent = nameOf(symbol);
    row.querySelector('.trend').append(sparkline.element);
    const button = row.querySelector('.remove');
    button.setAttribute('aria-label', `Stop watching ${symbol}`);
    button.addEventListener('click', () => this.#onRemove(symbol));
    this.#rows.set(symbol, { row, sparkline, price: null });
    this.#body.append(row);
  }

  #changed() {
    this.#empty.hidden = this.#rows.size > 0;
    localStorage.setItem(this.#key, JSON.stringify(this.symbols));
  }

  #load() {
    try {
      const symbols = JSON.parse(localStorage.getItem(this.#key));
      if (Array.isArray(symbols)) return symbols.filter((symbol) => typeof symbol === 'string');
    } catch {
      // Not ours any more: begin again.
    }
    return DEFAULT_SYMBOLS;
  }
}

function nameOf(symbol) {
  const options = [...document.getElementById('symbols').options];
  return options.find((option) => option.value === symbol)?.label ?? '';
}

function flash(cell, change) {
  const way = format.direction(change);
  if (!way) return;
  cell.classList.remove('flash-up', 'flash-down');
  void cell.offsetWidth; // Lets the same animation start again.
  cell.classList.add(`flash-${way}`);
}

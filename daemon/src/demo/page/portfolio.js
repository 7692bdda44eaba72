// What the user owns, as the server last said.

import * as format from './format.js';

export class Portfolio {
  #positions = document.getElementById('positions');
  #template = document.getElementById('position-row');
  #rows = new Map();

  constructor() {
    this.#positions.replaceChildren();
    for (const id of ['total', 'cash', 'day-change']) {
      format.showChange(document.getElementById(id), 0, '–');
    }
  }

  show({ cash, total, dayChange, positions }) {
    document.getElementById('total').textContent = format.amount(total);
    document.getElementById('cash').textContent = format.amount(cash);
    const opened = total - dayChange;
    const percent = format.percent(opened ? (dayChange * 100) / opened : 0);
    const text = `${format.amount(Math.abs(dayChange))} (${percent})`;
    format.showChange(document.getElementById('day-change'), dayChange, text);
    this.#showPositions(positions);
  }

  #showPositions(positions) {
    const held = new Set(positions.map(({ symbol }) => symbol));
    for (const [symbol, row] of this.#rows) {
      if (held.has(symbol)) continue;
      row.remove();
      this.#rows.delete(symbol);
    }
    for (const position of positions) this.#showPosition(position);
  }

  #showPosition({ symbol, quantity, value, change }) {
    const row = this.#rows.get(symbol) ?? this.#addRow(symbol);
    row.querySelector('.quantity').textContent = format.quantity(quantity);
    row.querySelector('.value').textContent = format.amount(value);
    format.showChange(row.querySelector('.change'), change, format.amount(Math.abs(change)));
  }

  #addRow(symbol) {
    const row = this.#template.content.cloneNode(true).querySelector('tr');
    row.dataset.symbol = symbol;
    row.querySelector('th').textContent = symbol;
    this.#rows.set(symbol, row);
    this.#positions.append(row);
    return row;
  }
}

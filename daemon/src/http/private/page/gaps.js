// Nodes that are missing from an answer: those that did not answer, and those that were not asked,
// as nothing is heard of them.

import { make } from './elements.js';
import { visible } from './format.js';

// The names of nodes of which nothing is heard; not of those that are there again.
export function deadOf({ peers = [] }) {
  const alive = new Set(peers.filter((it) => it.alive).map((it) => it.name));
  return [...new Set(peers.map((it) => it.name))].filter((name) => !alive.has(name));
}

// Who is missing, and how; empty if nobody is.
export function gap(silent = [], dead = []) {
  const unheard = dead.filter((name) => !silent.includes(name));
  const parts = [];
  if (silent.length) parts.push(`${list(silent)} did not answer`);
  if (unheard.length) parts.push(`${list(unheard)} ${unheard.length > 1 ? 'are' : 'is'} not heard of`);
  return parts.join('; ');
}

const list = (names) => new Intl.ListFormat('en-GB').format(names);

// What a view says of them, as long as it is so.
export class Gaps {
  element = make('p', { className: 'notice', role: 'status', hidden: true });
  #silent = [];
  #dead = [];

  // Whether it changes what is to be said.
  heard({ cluster }) {
    this.#dead = deadOf(cluster);
    return this.#show();
  }

  answered({ unreachable = [] }) {
    this.#silent = unreachable;
    this.#show();
  }

  get isWhole() {
    return this.element.hidden;
  }

  get where() {
    return this.isWhole ? 'on all nodes' : 'on the nodes that answered';
  }

  #show() {
    const missing = gap(this.#silent, this.#dead);
    const text = missing && `${missing}: what is there is not shown.`;
    const shown = visible(text);
    // The same again would be read out again.
    if (this.element.textContent === shown) return false;
    this.element.textContent = shown;
    this.element.hidden = !shown;
    return true;
  }
}

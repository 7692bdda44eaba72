// Rooms: the largest of a namespace, those whose name contains a text, and one with its members.

import { ask, hasPath, path } from './api.js';
import { card, make, replace, table, withoutPath } from './elements.js';
import { count, since } from './format.js';
import { Gaps } from './gaps.js';
import { socketTable } from './sockets.js';

const LARGEST = 50;
const MEMBERS = 100;

// What was searched for last, for the way back from a room.
let searched = '';

export class RoomsView {
  title = 'Rooms';
  // All rooms of all nodes are looked through for it.
  everyMs = 10_000;
  element = make('div', { className: 'view' });
  #gaps = new Gaps();
  #found = make('div');
  #shown = null;

  constructor(namespace, room, go) {
    this.room = room;
    const contains = make('input', { id: 'room-text', maxLength: 256, value: searched, spellcheck: false });
    const from = make('input', { id: 'room-namespace', maxLength: 256, value: namespace || '/', spellcheck: false });
    this.query = () => ({ namespace: from.value || '/', contains: contains.value });
    const form = make('form', { className: 'search card', role: 'search' },
      make('div', {}, make('label', { htmlFor: 'room-text' }, 'Name contains'), contains),
      make('div', {}, make('label', { htmlFor: 'room-namespace' }, 'Namespace'), from),
      make('button', {}, 'Search'));
    form.onsubmit = (event) => {
      event.preventDefault();
      searched = contains.value;
      this.room = null;
      go('rooms', from.value || '/');
      this.refresh();
    };
    this.element.append(form, this.#gaps.element, this.#found);
  }

  show(overview) {
    return this.#gaps.heard(overview);
  }

  refresh = async () => {
    const query = this.query();
    const looked = this.room ? await this.#members(query.namespace) : await this.#largest(query);
    if (looked.key === this.#shown) return;
    this.#shown = looked.key;
    replace(this.#found, looked.card());
  };

  async #largest({ namespace, contains }) {
    const query = new URLSearchParams({ namespace, contains, order: 'sockets', limit: LARGEST });
    const found = await ask('GET', `/api/v1/rooms?${query}`);
    const room = ({ room: name }) =>
      make('a', { href: `#rooms/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}` }, name);
    const columns = [
      { title: 'Room', wide: true, show: room },
      { title: 'Sockets', number: true, show: ({ sockets }) => count(sockets) },
    ];
    this.#gaps.answered(found);
    const more = found.count > found.rooms.length ? `; these are the largest ${LARGEST}` : '';
    const text = `${count(found.count)} ${this.#gaps.where}${more}.`;
    return {
      key: JSON.stringify([found, text]),
      card: () => card('Rooms', make('p', { className: 'quiet small' }, text), table('Rooms', columns, found.rooms)),
    };
  }

  async #members(namespace) {
    if (!hasPath(this.room)) {
      const query = `?${new URLSearchParams({ namespace })}`;
      return { key: this.room, card: () => withoutPath(this.room, [['GET', `rooms/${this.room}${query}`]]) };
    }
    const query = new URLSearchParams({ namespace, limit: MEMBERS });
    const found = await ask('GET', `${path('rooms', this.room)}?${query}`);
    this.#gaps.answered(found);
    const more = found.next ? `; these are ${MEMBERS} of them` : '';
    const text = `${count(found.count)} sockets ${this.#gaps.where}, in ${found.namespace}${more}.`;
    return {
      key: JSON.stringify([found, text, found.sockets.map((it) => since(it.since))]),
      card: () => card(this.room, make('p', { className: 'quiet small' }, text),
        socketTable(found.sockets, this.refresh)),
    };
  }
}

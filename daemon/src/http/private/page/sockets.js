// Sockets: a table of them, and the view that finds one or shows the first.

import { ask, hasPath, path, silentOf } from './api.js';
import { acts } from './acts.js';
import { button, card, make, replace, table } from './elements.js';
import { count, since } from './format.js';
import { Gaps } from './gaps.js';

const PAGE = 50;
const ROOMS = 6;

export function socketTable(sockets, refresh) {
  if (!sockets.length) return make('p', { className: 'quiet' }, 'No sockets.');
  const columns = [
    { title: 'Socket', show: ({ id }) => make('code', {}, id) },
    { title: 'User', wide: true, show: ({ userId }) => userId && link('users', userId) },
    { title: 'Namespace', long: true, show: ({ namespace }) => namespace },
    { title: 'Rooms', wide: true, show: rooms },
    { title: 'Transport', show: ({ transport, recovered }) => transport + (recovered ? ', recovered' : '') },
    { title: 'Address', show: ({ ip }) => ip && address(ip) },
    { title: 'Connected for', show: (it) => make('span', { title: it.since ?? '' }, since(it.since) ?? '–') },
    { title: 'Node', long: true, show: ({ node }) => node || null },
    { title: '', act: true, show: ({ id }) => disconnect(id, refresh) },
  ];
  return table('Sockets', columns, sockets);
}

// IPv6 breaks at its colons.
const address = (ip) => make('span', {}, ...ip.split(/(?<=:)/).flatMap((part) => [part, make('wbr')]));

const link = (view, name) => make('a', { href: `#${view}/${encodeURIComponent(name)}` }, name);

function disconnect(id, refresh) {
  return button('Disconnect', {
    key: `disconnect ${id}`,
    label: `Disconnect socket ${id}`,
    className: 'quiet-danger small',
    onclick: () => acts.socket(id, refresh),
  });
}

function rooms({ id, namespace, rooms: all }) {
  if (!all.length) return null;
  const item = (room) => make('li', {},
    make('a', { href: `#rooms/${encodeURIComponent(namespace)}/${encodeURIComponent(room)}` }, room));
  const list = (some) => make('ul', { className: 'rooms' }, ...some.map(item));
  if (all.length <= ROOMS) return list(all);
  return make('details', { 'data-key': `rooms ${id}` },
    make('summary', {}, `${count(all.length)} rooms`), list(all));
}

export class SocketsView {
  title = 'Sockets';
  everyMs = 5_000;
  element = make('div', { className: 'view' });
  #gaps = new Gaps();
  #list = make('div');
  #shown = null;

  constructor(id, go) {
    this.id = id;
    const input = make('input', { id: 'socket-id', value: id ?? '', maxLength: 128, spellcheck: false });
    const form = make('form', { className: 'search card', role: 'search' },
      make('div', {}, make('label', { htmlFor: 'socket-id' }, 'Id of a socket'), input),
      make('button', {}, 'Find'));
    form.onsubmit = (event) => {
      event.preventDefault();
      go('sockets', input.value.trim());
    };
    this.element.append(form, this.#gaps.element, this.#list);
  }

  show(overview) {
    return this.#gaps.heard(overview);
  }

  refresh = async () => {
    const { text, sockets, title } = await this.#look();
    const shown = JSON.stringify([text, sockets, sockets.map((it) => since(it.since))]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    replace(this.#list, card(title, make('p', { className: 'quiet small' }, text), socketTable(sockets, this.refresh)));
  };

  async #look() {
    if (!this.id) {
      const found = await ask('GET', `/api/v1/sockets?limit=${PAGE}`);
      this.#gaps.answered(found);
      const text = `${count(found.count)} ${this.#gaps.where}${found.next ? `; these are ${PAGE} of them` : ''}.`;
      return { title: 'Sockets', text, sockets: found.sockets };
    }
    const found = hasPath(this.id) ? await this.#one() : null;
    const text = found ? '' : `There is no such socket${this.#gaps.isWhole ? '' : ` ${this.#gaps.where}`}.`;
    return { title: 'Socket', text, sockets: found ? [found] : [] };
  }

  // The node that has it was there; whether all were matters only if none has it.
  async #one() {
    try {
      const found = await ask('GET', path('sockets', this.id));
      this.#gaps.answered({});
      return found;
    } catch (error) {
      if (error.status !== 404) throw error;
      this.#gaps.answered({ unreachable: await silentOf('rooms', this.id) });
      // A node that was silent may count as dead by now, and is not asked any more.
      this.#gaps.heard({ cluster: await ask('GET', '/api/v1/cluster') });
      return null;
    }
  }
}

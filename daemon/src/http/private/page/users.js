// One user: found by id, with its sockets on all nodes.

import { ask, path } from './api.js';
import { acts } from './acts.js';
import { button, card, make, replace } from './elements.js';
import { count, since } from './format.js';
import { socketTable } from './sockets.js';

const PAGE = 100;

export class UsersView {
  title = 'Users';
  everyMs = 3_000;
  element = make('div', { className: 'view' });
  #found = make('div', { id: 'user' });
  #shown = null;

  constructor(id, go) {
    this.id = id;
    const input = make('input', {
      id: 'user-id', value: id ?? '', maxLength: 128, required: true, autocapitalize: 'none', spellcheck: false,
    });
    const form = make('form', { className: 'search card', role: 'search' },
      make('div', {}, make('label', { htmlFor: 'user-id' }, 'Id of a user'), input),
      make('button', {}, 'Find'));
    form.onsubmit = (event) => {
      event.preventDefault();
      go('users', input.value);
    };
    this.element.append(form, this.#found);
  }

  refresh = async () => {
    if (!this.id) return;
    const user = await ask('GET', `${path('users', this.id)}?limit=${PAGE}`);
    const shown = JSON.stringify([user, user.sockets.map((it) => since(it.since))]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    replace(this.#found, this.#card(user));
  };

  #card(user) {
    const state = user.connected
      ? `${count(user.count)} ${user.count === 1 ? 'socket' : 'sockets'} on all nodes`
      : 'not connected';
    const text = user.unreachable ? `${state}; no answer from ${user.unreachable.join(', ')}` : state;
    const act = (name, label, className) => button(label, {
      key: name, className, onclick: () => acts[name](user.userId, this.refresh),
    });
    const shown = card(user.userId, socketTable(user.sockets, this.refresh));
    shown.firstChild.append(
      make('span', { className: user.connected ? 'pill good' : 'pill' }, text),
      make('div', { className: 'buttons' },
        act('user', 'Disconnect user', 'quiet-danger'),
        act('sessions', 'Revoke sessions', 'quiet-danger')));
    return shown;
  }
}

// One user: found by id, with its sockets on all nodes.

import { ask, hasPath, path } from './api.js';
import { acts } from './acts.js';
import { button, card, make, replace, withoutPath } from './elements.js';
import { count, since } from './format.js';
import { Gaps } from './gaps.js';
import { socketTable } from './sockets.js';

const PAGE = 100;

export class UsersView {
  title = 'Users';
  everyMs = 3_000;
  element = make('div', { className: 'view' });
  #found = make('div', { id: 'user' });
  #gaps = new Gaps();
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
    this.element.append(form, this.#gaps.element, this.#found);
    if (id && !hasPath(id)) {
      const asked = [['GET', ''], ['POST', '/disconnect'], ['DELETE', '/sessions']];
      this.#found.append(withoutPath(id, asked.map(([method, act]) => [method, `users/${id}${act}`])));
    }
  }

  show(overview) {
    return this.#gaps.heard(overview);
  }

  refresh = async () => {
    if (!this.id || !hasPath(this.id)) return;
    const user = await ask('GET', `${path('users', this.id)}?limit=${PAGE}`);
    this.#gaps.answered(user);
    const shown = JSON.stringify([user, this.#gaps.where, user.sockets.map((it) => since(it.since))]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    replace(this.#found, this.#card(user));
  };

  #card(user) {
    const { where } = this.#gaps;
    const sockets = `${count(user.count)} ${user.count === 1 ? 'socket' : 'sockets'}`;
    const none = this.#gaps.isWhole ? 'not connected' : `not connected ${where}`;
    const text = user.connected ? `${sockets} ${where}` : none;
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

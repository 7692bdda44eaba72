// Making parts of the page. Texts are set as texts, so nothing that a client sends can be markup, and
// with what cannot be seen escaped, so that no name looks like another.

import { visible } from './format.js';

export const byId = (id) => document.getElementById(id);

// make('td', { className: 'number' }, 'text', anotherElement…)
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes('-')) element.setAttribute(name, name === 'aria-label' ? visible(value) : value);
    else element[name] = value;
  }
  const there = children.filter((child) => child !== null && child !== undefined);
  element.append(...there.map((child) => (typeof child === 'string' ? visible(child) : child)));
  return element;
}

// A table whose rows become cards where it is narrow. Columns are
// { title, number?, wide?, long?, act?, show(row) }; only what is wide or long may break within a word.
export function table(caption, columns, rows) {
  const head = columns.map(({ title, number }) =>
    make('th', { scope: 'col', className: number ? 'number' : '' }, title));
  const cell = ({ title, number, act, wide, long, show }, row) => {
    const shown = show(row);
    const className = act ? 'act' : number ? 'number' : wide ? 'wide' : long ? 'long' : '';
    return make('td', { className, 'data-label': title }, shown ?? '–');
  };
  const body = rows.map((row) => make('tr', {}, ...columns.map((column) => cell(column, row))));
  // What fits beside each other stays there.
  return make('table', { className: columns.length > 3 ? 'stack' : '', 'aria-label': caption },
    make('thead', {}, make('tr', {}, ...head)), make('tbody', {}, ...body));
}

export const card = (title, ...children) =>
  make('section', { className: 'card', 'aria-label': title },
    make('div', { className: 'heading' }, make('h2', {}, title)), ...children);

export const facts = (pairs) =>
  make('dl', { className: 'facts' },
    ...pairs.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value ?? '–')]));

// Puts new content into a place; what was open there, or had the focus, has it again.
export function replace(place, ...children) {
  const open = new Set([...place.querySelectorAll('details[open]')].map((it) => it.dataset.key));
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  place.replaceChildren(...children);
  for (const details of place.querySelectorAll('details')) {
    if (open.has(details.dataset.key)) details.open = true;
  }
  if (focused) {
    [...place.querySelectorAll('[data-key]')].find((it) => it.dataset.key === focused)?.focus();
  }
}

// A button that says what it does to whom, also to those who do not see where it stands.
export function button(text, { key, label, className, onclick }) {
  return make('button', { type: 'button', className, onclick, 'data-key': key, 'aria-label': label ?? text }, text);
}

// In place of what a browser cannot ask for: how whoever has an API key can.
export function withoutPath(name, requests) {
  const key = "-H 'Authorization: Bearer KEY'";
  const command = ([method, rest]) => {
    const as = method === 'GET' ? '' : `-X ${method} `;
    return make('li', {}, make('code', {}, `curl --path-as-is ${as}${key} '${location.origin}/api/v1/${rest}'`));
  };
  const why = 'A browser cannot ask for this name: it takes it for a step of the path. With an API key:';
  return card(name, make('p', {}, why),
    make('ul', { className: 'commands' }, ...requests.map(command)));
}

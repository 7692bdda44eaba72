// The admin page: who is logged in, which view is shown, and what is asked for every two seconds.

import { ask, forget, logIn, logOut, renew, session } from './api.js';
import { say } from './acts.js';
import { byId, make } from './elements.js';
import { History } from './figures.js';
import { sentence } from './format.js';
import { OverviewView } from './overview.js';
import { RoomsView } from './rooms.js';
import { SocketsView } from './sockets.js';
import { UsersView } from './users.js';

const EVERY_MS = 2_000;
const RENEW_MS = 60_000;
const GOOD = ['ok'];

let view = null;
let history = new History();
let overview = null;
let live = false;
let timer = null;
let lastRefreshMs = 0;
let renewedMs = 0;

// -- login

function showLogin(notice = '') {
  live = false;
  clearTimeout(timer);
  forget();
  view = null;
  byId('view').replaceChildren();
  byId('bar').hidden = byId('view').hidden = true;
  byId('away').hidden = true;
  if (byId('confirm').open) byId('confirm').close();
  say('');
  byId('login').hidden = false;
  byId('login-notice').hidden = !notice;
  byId('login-notice').textContent = notice;
  document.title = 'Tidings admin';
  byId('username').focus();
}

function showPage({ name }, focus) {
  byId('login').hidden = true;
  byId('bar').hidden = byId('view').hidden = false;
  byId('admin').textContent = name;
  history = new History();
  renewedMs = Date.now();
  live = true;
  route(focus);
  tick();
}

byId('login-form').onsubmit = async (event) => {
  event.preventDefault();
  const [name, password] = [byId('username'), byId('password')];
  const submit = event.submitter;
  byId('login-error').textContent = '';
  if (submit) submit.disabled = true;
  try {
    showPage(await logIn(name.value, password.value), true);
  } catch (error) {
    byId('login-error').textContent = sentence(error);
    password.select();
  } finally {
    password.value = '';
    if (submit) submit.disabled = false;
  }
};

byId('log-out').onclick = async () => {
  try {
    await logOut();
    showLogin('You have logged out.');
  } catch (error) {
    failed(error);
  }
};

// -- views

function go(...steps) {
  location.hash = steps.filter(Boolean).map(encodeURIComponent).join('/');
}

function steps() {
  try {
    return location.hash.slice(1).split('/').map(decodeURIComponent);
  } catch {
    return [''];
  }
}

function route(focus) {
  if (!live) return;
  const [name, ...rest] = steps();
  const made = {
    users: () => new UsersView(rest[0], go),
    rooms: () => new RoomsView(rest[0], rest[1], go),
    sockets: () => new SocketsView(rest[0], go),
  }[name];
  view = made ? made() : new OverviewView();
  const title = make('h1', { tabIndex: -1 }, view.title);
  byId('view').replaceChildren(title, view.element);
  if (focus) title.focus();
  say('');
  document.title = `${view.title} – Tidings admin`;
  for (const link of document.querySelectorAll('#bar nav a')) {
    const current = link.textContent === view.title;
    if (current) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  lastRefreshMs = 0;
  if (overview) view.show?.(overview, history);
  refresh();
}

addEventListener('hashchange', () => route(true));

// The address says which view is shown, and nothing else.
byId('skip').onclick = (event) => {
  event.preventDefault();
  byId('main').focus();
};

// -- what is live

async function tick() {
  clearTimeout(timer);
  if (!live) return;
  // Nobody looks at a page in the background.
  if (!document.hidden) await look();
  if (live) timer = setTimeout(tick, EVERY_MS);
}

async function look() {
  try {
    overview = await ask('GET', '/api/v1/overview');
    history.add(overview);
    byId('away').hidden = true;
    showStatus(overview.node);
    view?.show?.(overview, history);
    await refresh();
  } catch (error) {
    failed(error);
  }
}

// What a view asks for itself.
async function refresh() {
  const now = Date.now();
  const shown = view;
  if (!shown?.refresh || now - lastRefreshMs < (shown.everyMs ?? EVERY_MS) - 100) return;
  lastRefreshMs = now;
  try {
    await shown.refresh();
  } catch (error) {
    failed(error);
  }
}

function showStatus({ name, status }) {
  byId('node-name').textContent = name;
  const pill = byId('status');
  // A change is read out; the same again is not.
  if (pill.textContent !== status) pill.textContent = status;
  pill.className = GOOD.includes(status) ? 'pill good' : 'pill bad';
}

function failed(error) {
  if (!live) return;
  if (error.status === 401) return showLogin('Your session has ended. Please log in again.');
  byId('away').textContent = sentence(error);
  byId('away').hidden = false;
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden) tick();
});

// The session goes on while somebody is there, which the looks above do not say.
for (const kind of ['pointerdown', 'keydown']) {
  addEventListener(kind, () => {
    if (!live || Date.now() - renewedMs < RENEW_MS) return;
    renewedMs = Date.now();
    renew().catch(failed);
  });
}

try {
  const signed = await session();
  if (signed) showPage(signed, false);
  else showLogin();
} catch (error) {
  showLogin(sentence(error));
}

// The admin page: who is logged in, which view is shown, and what is asked for every two seconds.

import { admin, ask, forget, logIn, logOut, renew, session } from './api.js';
import { say } from './acts.js';
import { byId, make } from './elements.js';
import { History } from './figures.js';
import { sentence, visible } from './format.js';
import { OverviewView } from './overview.js';
import { RoomsView } from './rooms.js';
import { SocketsView } from './sockets.js';
import { UsersView } from './users.js';

const EVERY_MS = 2_000;
const RENEW_MS = 60_000;
// It reads counters, so whoever takes longer for it hangs.
const LOOK_DEADLINE_MS = 5_000;
const GOOD = ['ok'];

let view = null;
let history = new History();
let overview = null;
// What is wrong, by what found it.
const standing = { look: '', view: '' };
let live = false;
let timer = null;
let lastRefreshMs = 0;
let renewedMs = 0;
let lookedMs = 0;

// -- login

function showLogin(notice = '') {
  live = false;
  clearTimeout(timer);
  forget();
  view = null;
  byId('view').replaceChildren();
  byId('bar').hidden = byId('view').hidden = true;
  stands('look', '');
  stands('view', '');
  if (byId('confirm').open) byId('confirm').close();
  say('');
  byId('login').hidden = false;
  byId('login-notice').hidden = !notice;
  byId('login-notice').textContent = notice;
  document.title = 'Tidings admin';
  byId('username').focus();
}

function showPage(focus) {
  byId('login').hidden = true;
  byId('bar').hidden = byId('view').hidden = false;
  history = new History();
  overview = null;
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
    await logIn(name.value, password.value);
    showPage(true);
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
    if (!ended(error)) say(visible(sentence(error)), 'notice');
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
  stands('view', '');
  document.title = `${view.title} – Tidings admin`;
  for (const link of document.querySelectorAll('#bar nav a')) {
    const current = link.textContent === view.title;
    if (current) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  lastRefreshMs = 0;
  if (overview) view.show(overview, history);
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
    const found = await ask('GET', '/api/v1/overview', null, LOOK_DEADLINE_MS);
    if (!live) return;
    overview = found;
    lookedMs = Date.now();
  } catch (error) {
    return showGone(error);
  }
  history.add(overview);
  stands('look', '');
  byId('view').classList.remove('stale');
  byId('admin').textContent = visible(admin());
  byId('node-name').textContent = visible(overview.node.name);
  showStatus(overview.node.status);
  if (view.show(overview, history)) lastRefreshMs = 0;
  await refresh();
}

function showGone(error) {
  if (!live || ended(error)) return;
  const of = overview ? ` What is shown is of ${new Date(lookedMs).toLocaleTimeString('en-GB')}.` : '';
  stands('look', `${sentence(error)}${of}`);
  byId('view').classList.toggle('stale', Boolean(overview));
  if (error.code === 'no_answer') showStatus('no answer');
}

// What a view asks for itself.
async function refresh() {
  const now = Date.now();
  const shown = view;
  if (!shown?.refresh || now - lastRefreshMs < (shown.everyMs ?? EVERY_MS) - 100) return;
  lastRefreshMs = now;
  try {
    await shown.refresh();
    if (shown === view) stands('view', '');
  } catch (error) {
    if (shown === view && !ended(error)) stands('view', sentence(error));
  }
}

function showStatus(status) {
  const pill = byId('status');
  // A change is read out; the same again is not.
  if (pill.textContent !== status) pill.textContent = status;
  pill.className = GOOD.includes(status) ? 'pill good' : 'pill bad';
}

// Whether it says that nobody is logged in any more.
function ended(error) {
  if (error.status !== 401) return false;
  if (live) showLogin('Your session has ended. Please log in again.');
  return true;
}

// What is wrong stands there until it is mended; the same again is not read out.
function stands(source, text) {
  standing[source] = text;
  // Without an answer to a look, there is none to a view.
  const all = visible(standing.look || standing.view);
  const away = byId('away');
  if (away.textContent !== all) away.textContent = all;
  away.hidden = !all;
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden) tick();
});

// The session goes on while somebody is there, which the looks above do not say.
for (const kind of ['pointerdown', 'keydown']) {
  addEventListener(kind, () => {
    if (!live || Date.now() - renewedMs < RENEW_MS) return;
    renewedMs = Date.now();
    renew().catch(ended);
  });
}

try {
  if (await session()) showPage(false);
  else showLogin();
} catch (error) {
  showLogin(sentence(error));
}

// The page: logging in and out. What is seen in between is the dashboard.

import { Dashboard } from './dashboard.js';
import * as format from './format.js';

// In sessionStorage: a reload stays logged in, a new tab does not.
const SESSION = 'tidings.session';

const byId = (id) => document.getElementById(id);
const loginForm = byId('login');
const watchForm = byId('watch');
let dashboard = null;

loginForm.addEventListener('submit', async (event) => {
  event.preventDefault();
  const button = loginForm.querySelector('button');
  button.disabled = true;
  byId('login-error').textContent = '';
  try {
    const { username, password } = loginForm.elements;
    start(await logIn(username.value.trim(), password.value));
  } catch (error) {
    byId('login-error').textContent = error.message;
  } finally {
    loginForm.elements.password.value = '';
    button.disabled = false;
  }
});

watchForm.addEventListener('submit', async (event) => {
  event.preventDefault();
  const input = watchForm.elements.symbol;
  const problem = await dashboard.watch(input.value.trim().toUpperCase());
  byId('watch-error').textContent = problem;
  if (!problem) input.value = '';
});

watchForm.addEventListener('input', () => {
  byId('watch-error').textContent = '';
});

byId('logout').addEventListener('click', async () => {
  const { sessionID, userId } = storedSession() ?? {};
  end('');
  await post('/auth/logout', { sessionID, userId }).catch(() => {
    byId('login-error').textContent =
      'The server could not be told; it will end the session later.';
  });
});

async function logIn(username, password) {
  const response = await post('/auth/login', { username, password }).catch(() => null);
  if (!response) throw new Error('The server cannot be reached.');
  if (response.ok) return response.json();
  if (response.status === 401) throw new Error('User name or password is wrong.');
  const body = await response.json().catch(() => ({}));
  const retryAfter = Number(response.headers.get('Retry-After')) || undefined;
  throw new Error(format.sentence({ ...(body.error ?? body), retryAfter }));
}

function post(path, body) {
  const headers = { 'Content-Type': 'application/json' };
  return fetch(path, { method: 'POST', headers, body: JSON.stringify(body) });
}

function start(session) {
  sessionStorage.setItem(SESSION, JSON.stringify(session));
  byId('watch-error').textContent = '';
  show(true);
  dashboard = new Dashboard(session, end);
}

// Back to the login form, with the reason if the user did not ask for it.
function end(reason) {
  dashboard?.end();
  dashboard = null;
  sessionStorage.removeItem(SESSION);
  byId('toasts').replaceChildren();
  byId('login-error').textContent = reason;
  show(false);
  loginForm.elements.username.focus();
}

function show(loggedIn) {
  loginForm.hidden = loggedIn;
  byId('dashboard').hidden = !loggedIn;
  byId('status').hidden = !loggedIn;
}

function storedSession() {
  try {
    return JSON.parse(sessionStorage.getItem(SESSION));
  } catch {
    return null;
  }
}

const session = storedSession();
if (session) start(session);
else show(false);

// The node's API, as the admin who has logged in. The browser sends the cookie; the proof, which no
// other page can read, is kept here and lost with the page.

const DEADLINE_MS = 15_000;

let signedIn = null;

export class Refused extends Error {
  constructor(status, { code, message } = {}, retryAfter = null) {
    super(message ?? `status ${status}`);
    Object.assign(this, { status, code, retryAfter });
  }
}

export async function ask(method, path, body, deadlineMs = DEADLINE_MS) {
  const by = signedIn;
  const response = await send(method, path, body, deadlineMs);
  if (response.status !== 403 || !by || !(await isOther(by))) return answerOf(response);
  return answerOf(await send(method, path, body, deadlineMs));
}

// Whether another tab has logged in meanwhile: the cookie is then that of its session.
async function isOther(by) {
  if (signedIn === by && !(await session())) throw new Refused(401, { message: 'nobody is logged in' });
  return signedIn?.proof !== by.proof;
}

async function send(method, path, body, deadlineMs) {
  const headers = {};
  if (signedIn) headers['X-Admin-Proof'] = signedIn.proof;
  if (body) headers['Content-Type'] = 'application/json';
  try {
    return await fetch(path, {
      method,
      headers,
      body: body ? JSON.stringify(body) : undefined,
      cache: 'no-store',
      credentials: 'same-origin',
      redirect: 'error',
      signal: AbortSignal.timeout(deadlineMs),
    });
  } catch {
    throw new Refused(0, { code: 'no_answer', message: 'no answer' });
  }
}

async function answerOf(response) {
  const text = await response.text();
  const isJson = response.headers.get('Content-Type')?.startsWith('application/json');
  const answer = isJson && text ? JSON.parse(text) : null;
  if (response.ok) return isJson ? answer : text || null;
  const after = Number(response.headers.get('Retry-After')) || null;
  throw new Refused(response.status, answer?.error, after);
}

const signed = (session) => {
  signedIn = session;
  return session;
};

// The name of who is logged in.
export const admin = () => signedIn?.name ?? '';

// Who is logged in; null if nobody is.
export const session = async () => signed(await answerOf(await send('GET', '/admin/session', null, DEADLINE_MS)));
export const logIn = async (username, password) =>
  signed(await ask('POST', '/admin/login', { username, password }));
export const renew = () => ask('POST', '/admin/session');

export async function logOut() {
  await ask('POST', '/admin/logout');
  forget();
}

export function forget() {
  signedIn = null;
}

// Browsers take these for steps of the path, in any encoding, and ask for something else.
export const hasPath = (name) => name !== '.' && name !== '..';

export function path(...steps) {
  if (!steps.every(hasPath)) throw new Refused(0, { message: 'a browser cannot ask for this name' });
  return `/api/v1/${steps.map(encodeURIComponent).join('/')}`;
}

// The nodes that do not answer to a question of a room or a user.
export const silentOf = async (...steps) => (await ask('GET', `${path(...steps)}?limit=1`)).unreachable ?? [];

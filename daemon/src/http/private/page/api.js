// The node's API, as the admin who has logged in. The browser sends the cookie; the proof, which no
// other page can read, is kept here and lost with the page.

const DEADLINE_MS = 15_000;

let proof = null;

export class Refused extends Error {
  constructor(status, { code, message } = {}, retryAfter = null) {
    super(message ?? `status ${status}`);
    Object.assign(this, { status, code, retryAfter });
  }
}

export async function ask(method, path, body) {
  const headers = {};
  if (proof) headers['X-Admin-Proof'] = proof;
  if (body) headers['Content-Type'] = 'application/json';
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body ? JSON.stringify(body) : undefined,
      cache: 'no-store',
      credentials: 'same-origin',
      redirect: 'error',
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
  } catch {
    throw new Refused(0, { code: 'no_answer', message: 'no answer' });
  }
  return answerOf(response);
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
  proof = session?.proof ?? null;
  return session;
};

// Who is logged in; null if nobody is.
export const session = async () => signed(await ask('GET', '/admin/session'));
export const logIn = async (username, password) =>
  signed(await ask('POST', '/admin/login', { username, password }));
export const renew = () => ask('POST', '/admin/session');

export async function logOut() {
  await ask('POST', '/admin/logout');
  forget();
}

export function forget() {
  proof = null;
}

export const path = (...steps) => `/api/v1/${steps.map(encodeURIComponent).join('/')}`;

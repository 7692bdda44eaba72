// Acts on clients: asked for twice, then done, then said.

import { ask, path, silentOf } from './api.js';
import { byId } from './elements.js';
import { sentence, visible } from './format.js';
import { deadOf, gap } from './gaps.js';

const STILL = () => 'sockets there may still be connected';
const LATER = (several) => (several ? 'they end them when they are back' : 'it ends them when it is back');

export const acts = {
  socket: (id, after) =>
    confirmed({
      title: 'Disconnect this socket?',
      text: `Socket ${visible(id)} leaves its namespace. Its client is told, and does not come back by itself.`,
      yes: 'Disconnect',
      act: () => disconnectSocket(id),
      done: ({ sockets }) =>
        sockets ? `Socket ${visible(id)} was disconnected.` : `Socket ${visible(id)} was not found.`,
      missed: STILL,
      after,
    }),
  user: (id, after) =>
    confirmed({
      title: `Disconnect ${visible(id)}?`,
      text: 'All sockets of the user are disconnected, on all nodes. The user may connect again.',
      yes: 'Disconnect user',
      act: () => ask('POST', path('users', id, 'disconnect'), { close: true }),
      done: ({ sockets }) => `${sockets} ${sockets === 1 ? 'socket' : 'sockets'} of ${visible(id)} disconnected.`,
      missed: STILL,
      after,
    }),
  sessions: (id, after) =>
    confirmed({
      title: `Revoke all sessions of ${visible(id)}?`,
      text: 'The sessions end and their sockets with them, on all nodes. The user has to log in again.',
      yes: 'Revoke sessions',
      act: async () => (await ask('DELETE', path('users', id, 'sessions'))) ?? {},
      done: () => `The sessions of ${visible(id)} have ended.`,
      missed: LATER,
      after,
    }),
};

// That there is no such socket says nothing of the nodes that did not answer.
async function disconnectSocket(id) {
  try {
    return await ask('POST', path('sockets', id, 'disconnect'));
  } catch (error) {
    if (error.status !== 404) throw error;
    return { sockets: 0, unreachable: await silentOf('rooms', id).catch(() => null) };
  }
}

// What to say of nodes that an act did not reach; empty if it reached all.
async function untold({ unreachable = [] }, missed) {
  const cluster = await ask('GET', '/api/v1/cluster').catch(() => null);
  if (!unreachable || !cluster) return 'Whether all nodes answered is not known.';
  const dead = deadOf(cluster);
  const missing = gap(unreachable, dead);
  return missing && `${visible(missing)}: ${missed(new Set([...unreachable, ...dead]).size > 1)}.`;
}

function confirmed({ title, text, yes, act, done, missed, after }) {
  const dialog = byId('confirm');
  const begun = byId('confirm-yes');
  byId('confirm-title').textContent = title;
  byId('confirm-text').textContent = text;
  begun.textContent = yes;
  begun.disabled = false;
  const carryOut = async () => {
    begun.disabled = true;
    try {
      const answer = await act();
      const but = await untold(answer, missed);
      say(`${done(answer)} ${but}`.trim(), but || answer.sockets === 0 ? 'notice' : 'done');
    } catch (error) {
      const maybe = error.code === 'no_answer' ? ' It may have been done all the same.' : '';
      say(`${visible(sentence(error))}${maybe}`, 'notice');
    }
    // It may have been cancelled meanwhile, and ask for something else.
    if (begun.onclick === carryOut) dialog.close();
    // If it fails, so does the next look, which says so.
    after().catch(() => {});
  };
  begun.onclick = carryOut;
  byId('confirm-no').onclick = () => dialog.close();
  dialog.showModal();
  // What cannot be undone is not what Enter does.
  byId('confirm-no').focus();
}

// As what it is: 'done' if all went well, else 'notice'.
export function say(text, kind = 'done') {
  byId('done').className = kind;
  byId('done').textContent = text;
}

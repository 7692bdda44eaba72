// Acts on clients: asked for twice, then done, then said.

import { ask, path } from './api.js';
import { byId } from './elements.js';
import { sentence } from './format.js';

export const acts = {
  socket: (id, after) =>
    confirmed({
      title: 'Disconnect this socket?',
      text: `Socket ${id} leaves its namespace. Its client is told, and does not come back by itself.`,
      yes: 'Disconnect',
      act: () => ask('POST', path('sockets', id, 'disconnect')),
      done: () => `Socket ${id} was disconnected.`,
      after,
    }),
  user: (id, after) =>
    confirmed({
      title: `Disconnect ${id}?`,
      text: 'All sockets of the user are disconnected, on all nodes. The user may connect again.',
      yes: 'Disconnect user',
      act: () => ask('POST', path('users', id, 'disconnect'), { close: true }),
      done: ({ sockets }) => `${sockets} ${sockets === 1 ? 'socket' : 'sockets'} of ${id} disconnected.`,
      after,
    }),
  sessions: (id, after) =>
    confirmed({
      title: `Revoke all sessions of ${id}?`,
      text: 'The sessions end and their sockets with them, on all nodes. The user has to log in again.',
      yes: 'Revoke sessions',
      act: () => ask('DELETE', path('users', id, 'sessions')),
      done: () => `The sessions of ${id} have ended.`,
      after,
    }),
};

function confirmed({ title, text, yes, act, done, after }) {
  const dialog = byId('confirm');
  const begun = byId('confirm-yes');
  byId('confirm-title').textContent = title;
  byId('confirm-text').textContent = text;
  begun.textContent = yes;
  begun.disabled = false;
  begun.onclick = async () => {
    begun.disabled = true;
    try {
      say(done(await act()));
    } catch (error) {
      say(sentence(error));
    }
    dialog.close();
    after();
  };
  byId('confirm-no').onclick = () => dialog.close();
  dialog.showModal();
  // What cannot be undone is not what Enter does.
  byId('confirm-no').focus();
}

export function say(text) {
  byId('done').textContent = text;
}

// A small application as its users write them: Express, express-session, connect-mongo.
//
//   express.mjs MONGODB_URI [--touch-after SECONDS] [--documents] [--transform sess|sha256]
//               [--crypto kruptein|web] [--passport]
//
// POST /login {"userId"}, POST /logout, POST /leave (keeps the session and forgets the user),
// GET /touch. The secrets are SECRETS in the environment, the first one signing.

import { createHash } from 'node:crypto';
import { parseArgs } from 'node:util';
import MongoStore, { createKrupteinAdapter, createWebCryptoAdapter } from 'connect-mongo';
import express from 'express';
import session from 'express-session';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    'touch-after': { type: 'string', default: '0' },
    documents: { type: 'boolean', default: false },
    transform: { type: 'string' },
    crypto: { type: 'string' },
    passport: { type: 'boolean', default: false },
    'max-age': { type: 'string' },
  },
});

const transforms = {
  sess: (sid) => `sess:${sid}`,
  sha256: (sid) => createHash('sha256').update(sid).digest('hex'),
};
const adapters = {
  kruptein: createKrupteinAdapter,
  web: createWebCryptoAdapter,
};

const store = MongoStore.create({
  mongoUrl: positionals[0],
  stringify: !values.documents,
  touchAfter: Number(values['touch-after']),
  ...(values.transform && { transformId: transforms[values.transform] }),
  ...(values.crypto && { cryptoAdapter: adapters[values.crypto]({ secret: process.env.SESSION_CRYPTO }) }),
});

const app = express();
app.use(express.json());
app.use(
  session({
    secret: process.env.SECRETS.split(','),
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: values['max-age'] ? Number(values['max-age']) : undefined },
    store,
  }),
);

app.post('/login', (request, response, next) => {
  request.session.regenerate((error) => {
    if (error) return next(error);
    const { userId } = request.body;
    if (values.passport) request.session.passport = { user: userId };
    else request.session.userId = userId;
    request.session.save((error) => {
      if (error) return next(error);
      response.json({ sessionID: request.sessionID });
    });
  });
});

app.post('/logout', (request, response, next) => {
  request.session.destroy((error) => (error ? next(error) : response.sendStatus(204)));
});

app.post('/leave', (request, response, next) => {
  delete request.session.userId;
  delete request.session.passport;
  request.session.save((error) => (error ? next(error) : response.sendStatus(204)));
});

app.get('/touch', (request, response) => response.json({ visits: Boolean(request.session.userId) }));

await store.collectionP;
const server = app.listen(0, '127.0.0.1', () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});

// Ends with whoever started it.
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

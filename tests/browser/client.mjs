// The page's own Socket.IO client against a server that follows a script.
//
//   node --test tests/browser/client.mjs
//
// Time in the page is Playwright's clock: it stands still until a test moves it.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test as nodeTest } from 'node:test';
import { openBrowser } from './chromium.mjs';
import { ScriptedServer } from './scripted-server.mjs';

const OWN_EVENTS = ['connect', 'disconnect', 'connect_error', 'reconnecting', 'transport'];
const AUTH = { sessionID: 's1', userId: 'alice' };

const test = (name, body) => nodeTest(name, { timeout: 30_000 }, body);

let browser;
let server;
let page;

before(async () => {
  browser = await openBrowser();
});
after(() => browser.closeBrowser());

beforeEach(async () => {
  server = new ScriptedServer();
  const origin = await server.listen();
  page = await browser.context.newPage();
  await page.clock.install();
  await page.goto(`${origin}/blank`);
  await page.clock.pauseAt(Date.now() + 3_600_000);
});

afterEach(async () => {
  await page.close();
  server.close();
});

// Starts a client in the page; all it tells is kept in `told`, as [name, first argument].
async function connect(options = {}) {
  await page.evaluate(
    async ([own, settings]) => {
      const { TidingsClient } = await import('/tidings-client.js');
      Math.random = () => 0.5; // Delays are then exactly nominal.
      window.told = [];
      window.client = new TidingsClient(settings);
      for (const name of [...own, 'news']) client.on(name, (value) => told.push([name, value]));
      client.connect();
    },
    [OWN_EVENTS, { auth: AUTH, transports: ['polling'], ...options }],
  );
}

// Waits until the client has told `count` events of this name, and returns their values.
async function told(name, count = 1) {
  await page.waitForFunction(
    ([wanted, least]) => told.filter(([given]) => given === wanted).length >= least,
    [name, count],
    { polling: 20 },
  );
  const all = await page.evaluate(() => window.told);
  return all.filter(([given]) => given === name).map(([, value]) => value);
}

// If anything were due in the next hour, it would be asked of the server before this request.
async function assertStaysAway() {
  const { attempts } = server;
  await page.clock.fastForward('01:00:00');
  await page.evaluate(() => fetch('/blank').then((response) => response.text()));
  assert.equal(server.attempts, attempts);
}

async function live(options, answer) {
  const number = server.sessions.length;
  await connect(options);
  const session = await server.session(number);
  await session.welcome(answer);
  await told('connect');
  return session;
}

test('credentials go out with CONNECT; the first connection is not recovered', async () => {
  await connect();
  const session = await server.session(0);
  assert.deepEqual(await session.welcome(), AUTH);
  assert.deepEqual(await told('connect'), [{ recovered: false }]);
});

test('a request is answered by its own acknowledgement', async () => {
  const session = await live();
  const both = page.evaluate(() =>
    Promise.all([client.request('a', { x: 1 }), client.request('b')]),
  );
  assert.equal(await session.next(), '421["a",{"x":1}]');
  assert.equal(await session.next(), '422["b"]');
  session.send('432["second"]', '431["first"]');
  assert.deepEqual(await both, ['first', 'second']);
});

test('a request fails when no answer comes in time, or the connection is lost', async () => {
  const session = await live();
  const ask = () => page.evaluate(() => client.request('a').catch(({ message }) => message));
  const late = ask();
  await session.next();
  await page.clock.fastForward(10_000);
  assert.equal(await late, 'no answer in time');
  const lost = ask();
  await session.next();
  session.drop();
  assert.equal(await lost, 'the connection was lost');
  assert.equal(await ask(), 'not connected');
});

test("an event that asks for an acknowledgement gets the handler's", async () => {
  const session = await live();
  await page.evaluate(() => void client.on('question', (value, answer) => answer(value + 1, 'ok')));
  session.send('427["question",41]');
  assert.equal(await session.next(), '437[42,"ok"]');
});

test('packets of other namespaces and binary ones are passed over', async () => {
  const session = await live();
  session.send(
    '42/other,["news",1]',
    '451-["news",{"_placeholder":true,"num":0}]',
    'bAAAA',
    '42["news",2]',
  );
  assert.deepEqual(await told('news'), [2]);
});

test('a handler that throws costs no other handler and no event', async () => {
  const session = await live();
  await page.evaluate(() => {
    window.onerror = () => true;
    client.on('bad', () => {
      throw new Error('handler');
    });
    client.on('bad', () => told.push(['news', 'second handler']));
  });
  session.send('42["bad"]', '42["news","next event"]');
  assert.deepEqual(await told('news', 2), ['second handler', 'next event']);
});

test("a server cannot send the client's own events", async () => {
  const session = await live();
  session.send('42["connect_error",{"code":"forged"}]', '42["news",1]');
  await told('news');
  assert.deepEqual(await told('connect_error', 0), []);
});

test('pings are answered, and a server that sends none any more is left', async () => {
  const session = await live();
  await page.clock.fastForward(44_000);
  session.send('2');
  assert.equal(await session.next(), '3');
  await page.clock.fastForward(44_000);
  assert.deepEqual(await told('reconnecting', 0), []);
  await page.clock.fastForward(2_000);
  const [{ reason }] = await told('reconnecting');
  assert.equal(reason, 'ping timeout');
});

for (const broken of ['42{"not":"an event"}', '42["cut', '42[]', '4', '43{}', '9']) {
  test(`the broken packet ${broken} ends the transport, and the client comes back`, async () => {
    const session = await live();
    session.send(broken);
    const [{ reason }] = await told('reconnecting');
    assert.equal(reason, 'parse error');
    await page.clock.fastForward(500);
    await (await server.session(1)).welcome();
    await told('connect', 2);
  });
}

test('delays double up to ten seconds, and start low again after a success', async () => {
  server.refuse = (attempt) => (attempt < 7 ? { status: 502, body: 'no' } : null);
  await connect();
  for (let attempt = 1; attempt <= 7; attempt += 1) {
    const delays = (await told('reconnecting', attempt)).map(({ delay }) => delay);
    await page.clock.fastForward(delays.at(-1));
  }
  const session = await server.session(0);
  await session.welcome();
  await told('connect');
  session.drop();
  const delays = (await told('reconnecting', 8)).map(({ delay }) => delay);
  assert.deepEqual(delays, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 500]);
});

test('a refusal before the handshake says why, and its Retry-After is kept to', async () => {
  const body = '{"code":"rate_limited","message":"too many connections"}';
  const headers = { 'Retry-After': '42', 'Content-Type': 'application/json' };
  server.refuse = (attempt) => (attempt === 0 ? { status: 429, headers, body } : null);
  await connect();
  const [{ delay, refusal }] = await told('reconnecting');
  assert.equal(delay, 42_000);
  assert.equal(refusal.code, 'rate_limited');
  await page.clock.fastForward(41_000);
  await page.evaluate(() => fetch('/blank').then((response) => response.text()));
  assert.equal(server.attempts, 1);
  await page.clock.fastForward(1_000);
  await (await server.session(0)).welcome();
  await told('connect');
});

test('refused credentials are final', async () => {
  await connect();
  const session = await server.session(0);
  await session.next();
  session.send('44{"message":"expired","data":{"code":"expired_session"}}');
  assert.deepEqual(await told('connect_error'), [{ code: 'expired_session', message: 'expired' }]);
  await assertStaysAway();
});

test('DISCONNECT by the server is final', async () => {
  const session = await live();
  session.send('41');
  assert.deepEqual(await told('disconnect'), [{ reason: 'ended by the server', final: true }]);
  await assertStaysAway();
});

test('closing says good-bye and is final', async () => {
  const session = await live();
  await page.evaluate(() => client.close());
  assert.ok(['1', '41'].includes(await session.next()));
  await assertStaysAway();
});

test('a server that never answers CONNECT is left for another try', async () => {
  await connect();
  await (await server.session(0)).next();
  await page.clock.fastForward(20_000);
  const [{ reason }] = await told('reconnecting');
  assert.equal(reason, 'connect timeout');
});

test('recovery: pid and offset go out, missed events come in, around CONNECT', async () => {
  const first = await live({}, { sid: 'a', pid: 'p1' });
  first.send('42["news",1,"o1"]', '42["news",2,null]');
  await told('news', 2);
  first.drop();
  await told('reconnecting');
  await page.clock.fastForward(500);
  const second = await server.session(1);
  second.send('42["news",3,"o3"]');
  assert.deepEqual(await second.welcome({ sid: 'a', pid: 'p1' }), {
    ...AUTH,
    pid: 'p1',
    offset: 'o1',
  });
  second.send('42["news",4,"o4"]');
  assert.deepEqual(await told('news', 4), [1, 2, 3, 4]);
  assert.deepEqual(await told('connect', 2), [{ recovered: false }, { recovered: true }]);

  second.drop();
  await told('reconnecting', 2);
  await page.clock.fastForward(500);
  const third = await server.session(2);
  assert.deepEqual(await third.welcome({ sid: 'a', pid: 'p1' }), {
    ...AUTH,
    pid: 'p1',
    offset: 'o4',
  });
});

test('recovery refused: a new pid forgets the old offset', async () => {
  const first = await live({}, { sid: 'a', pid: 'p1' });
  first.send('42["news",1,"o1"]');
  await told('news');
  first.drop();
  await told('reconnecting');
  await page.clock.fastForward(500);
  const second = await server.session(1);
  await second.welcome({ sid: 'b', pid: 'p2' });
  assert.deepEqual((await told('connect', 2)).at(-1), { recovered: false });
  second.drop();
  await told('reconnecting', 2);
  await page.clock.fastForward(500);
  const third = await server.session(2);
  assert.deepEqual(await third.welcome(), { ...AUTH, pid: 'p2' });
});

test('without a pid, a last argument that is a string is no offset', async () => {
  const first = await live();
  first.send('42["news",1,"text"]');
  await told('news');
  first.drop();
  await told('reconnecting');
  await page.clock.fastForward(500);
  assert.deepEqual(await (await server.session(1)).welcome(), AUTH);
});

test('one request never carries more than the server takes', async () => {
  server.handshake.maxPayload = 60;
  const session = await live({ auth: {} });
  await page.evaluate(() => {
    for (let n = 0; n < 10; n += 1) client.emit('note', `é${n}`);
  });
  for (let n = 0; n < 10; n += 1) assert.equal(await session.next(), `42["note","é${n}"]`);
  const sizes = session.bodies.map((body) => Buffer.byteLength(body));
  assert.ok(Math.max(...sizes) <= 60, `${sizes}`);
  assert.ok(sizes.length < 11, 'packets are sent together');
});

test('a WebSocket takes over without losing or reordering anything', async () => {
  server.handshake.upgrades = ['websocket'];
  let answerProbe;
  server.probeAnswer = new Promise((resolve) => {
    answerProbe = resolve;
  });
  const session = await live({ transports: ['polling', 'websocket'] });
  const exchange = async (from, to) => {
    for (let n = from; n < to; n += 1) session.send(`42["news",${n}]`);
    await page.evaluate(
      ([first, end]) => {
        for (let n = first; n < end; n += 1) client.emit('note', n);
      },
      [from, to],
    );
  };
  await exchange(0, 20);
  answerProbe();
  await exchange(20, 40);
  assert.deepEqual(await told('transport'), ['websocket']);
  await exchange(40, 60);

  const numbers = [...Array(60).keys()];
  const notes = [];
  while (notes.length < 60) {
    const packet = await session.next();
    if (packet !== '5') notes.push(packet);
  }
  assert.deepEqual(
    notes,
    numbers.map((n) => `42["note",${n}]`),
  );
  assert.deepEqual(await told('news', 60), numbers);
  assert.ok(
    !session.bodies.some((body) => body.includes('["note",40]')),
    'posted after the upgrade',
  );
});

test('a WebSocket waits for the answer of a poll that is still on its way', async () => {
  server.handshake.upgrades = ['websocket'];
  let [answerProbe, arrive] = [];
  server.probeAnswer = new Promise((resolve) => {
    answerProbe = resolve;
  });
  const session = await live({ transports: ['polling', 'websocket'] });
  session.network = new Promise((resolve) => {
    arrive = resolve;
  });
  session.send('42["news",1]');
  answerProbe();
  // Time enough for a client that does not wait.
  for (let n = 0; n < 5; n += 1) await page.evaluate(() => fetch('/blank').then((r) => r.text()));
  await page.evaluate(() => client.emit('note'));
  session.send('42["news",2]');
  arrive();
  assert.deepEqual(await told('news', 2), [1, 2]);
  assert.deepEqual([await session.next(), await session.next()], ['5', '42["note"]']);
});

test('where no WebSocket gets through, polling goes on', async () => {
  server.handshake.upgrades = ['websocket'];
  server.upgrade = false;
  const session = await live({ transports: ['polling', 'websocket'] });
  await server.upgradeRefused;
  for (let n = 1; n <= 5; n += 1) {
    session.send(`42["news",${n}]`);
    await told('news', n);
  }
  assert.deepEqual(await told('reconnecting', 0), []);
  assert.equal(await page.evaluate(() => client.transport), 'polling');
});

test('a network that is back is used at once', async () => {
  const session = await live();
  session.drop();
  await told('reconnecting');
  await page.evaluate(() => dispatchEvent(new Event('online')));
  await (await server.session(1)).welcome();
  await told('connect', 2);
});

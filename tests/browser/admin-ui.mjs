// Drives the official page, @socket.io/admin-ui, in headless Chromium, as an operator would.
//
//   TIDINGS_ADMIN_PASSWORD=… node tests/browser/admin-ui.mjs SCREENSHOT_FOLDER
//
// It serves the page and prints `PAGE ORIGIN`; then it is told the node's URL on standard input.
// Exit 0, or 1 with the name of the step that failed.

import { mkdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { createInterface } from 'node:readline';
import { io } from 'socket.io-client';
import { openBrowser } from './chromium.mjs';

const [screenshots] = process.argv.slice(2);
const password = process.env.TIDINGS_ADMIN_PASSWORD;
const TIMEOUT_MS = 30_000;
const DIST = new URL('../node_modules/@socket.io/admin-ui/ui/dist/', import.meta.url).pathname;
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

// The page asks two other hosts for letters and icons, which a test must not.
const OUTSIDE = /<link rel="stylesheet" href="https:[^>]*>/g;

function servePage() {
  const server = createServer((request, response) => {
    const path = normalize(new URL(request.url, 'http://page').pathname);
    const file = path === '/' ? 'index.html' : path;
    try {
      let body = readFileSync(join(DIST, file));
      if (file === 'index.html') body = body.toString().replaceAll(OUTSIDE, '');
      response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream');
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  return new Promise((done) => server.listen(0, '127.0.0.1', () => done(server.address().port)));
}

async function main(page, origin, node) {
  const alice = await client(node, 'alice');
  const bob = await client(node, 'bob');
  await alice.emitWithAck('subscribe:watchlist', { symbols: ['ACME'] });

  await step('a wrong password is refused', async () => {
    await page.goto(origin);
    await logIn(page, node, 'not the password');
    await page.locator('.v-dialog', { hasText: /invalid credentials/i }).waitFor();
  });

  await step('log in', async () => {
    await logIn(page, node, password);
    await page.locator('.v-dialog--active').waitFor({ state: 'detached' });
    await page.locator('header .v-chip', { hasText: /^connected$/i }).first().waitFor();
  });

  await step('figures of the node are shown', async () => {
    await page.locator('canvas').first().waitFor();
    await page.screenshot({ path: join(screenshots, 'admin-ui-dashboard.png') });
  });

  await step('the server is healthy', async () => {
    await go(page, 'servers');
    const row = page.locator('tbody tr', { hasText: 'node-1' });
    await row.locator('.v-chip', { hasText: /^healthy$/i }).waitFor();
    await page.screenshot({ path: join(screenshots, 'admin-ui-servers.png') });
  });

  await step('clients and rooms are shown', async () => {
    await go(page, 'sockets');
    await rowOf(page, alice.id).waitFor();
    await rowOf(page, bob.id).waitFor();
    await page.screenshot({ path: join(screenshots, 'admin-ui-sockets.png') });
    await go(page, 'rooms');
    for (const room of ['quote:ACME', 'user:alice', 'user:bob']) await rowOf(page, room).waitFor();
    await page.screenshot({ path: join(screenshots, 'admin-ui-rooms.png') });
    await go(page, 'clients');
    await page.locator('tbody tr').nth(2).waitFor();
  });

  await step('a client that comes, and its events, are shown', async () => {
    await go(page, 'sockets');
    const carol = await client(node, 'carol');
    const { id } = carol;
    await rowOf(page, id).waitFor();
    await carol.emitWithAck('subscribe:watchlist', { symbols: ['SHOWN'] });
    await go(page, 'events');
    await page.locator('tbody tr', { hasText: 'subscribe:watchlist' }).first().waitFor();
    await page.screenshot({ path: join(screenshots, 'admin-ui-events.png') });
    carol.disconnect();
    await go(page, 'sockets');
    await rowOf(page, id).waitFor({ state: 'detached' });
  });

  await step('a client that is disconnected by the page is gone', async () => {
    // It has none any more when it is gone.
    const { id } = bob;
    const gone = new Promise((done) => bob.once('disconnect', done));
    await rowOf(page, id).locator('button').click();
    const reason = await gone;
    if (reason !== 'io server disconnect') throw new Error(reason);
    // The click has opened its row, too.
    await go(page, 'sockets');
    await rowOf(page, id).waitFor({ state: 'detached' });
    if (!alice.connected) throw new Error('another one is gone, too');
    await page.screenshot({ path: join(screenshots, 'admin-ui-disconnected.png') });
  });

  await step('a client is shown with its handshake', async () => {
    await rowOf(page, alice.id).locator('td').first().click();
    await page.locator('.v-main', { hasText: 'quote:ACME' }).waitFor();
    await page.screenshot({ path: join(screenshots, 'admin-ui-socket.png') });
  });

  await step('a reload logs in by itself', async () => {
    await page.reload();
    await page.locator('header .v-chip', { hasText: /^connected$/i }).first().waitFor();
    await go(page, 'sockets');
    await rowOf(page, alice.id).waitFor();
    if (await page.locator('.v-dialog--active').count()) throw new Error('it asks to log in');
  });
}

async function client(node, name) {
  const socket = io(node, { transports: ['websocket'], forceNew: true, auth: { userId: name } });
  await new Promise((done, reject) => {
    socket.once('connect', done);
    socket.once('connect_error', reject);
  });
  return socket;
}

async function logIn(page, node, secret) {
  await page.getByLabel('Server URL').fill(node);
  await page.getByLabel('Username').fill('admin');
  await page.getByLabel('Password').fill(secret);
  await page.getByRole('button', { name: 'Connect' }).click();
}

// Goes where the page's own links lead, and waits until what was there has slid away.
async function go(page, name) {
  await page.evaluate((to) => (location.hash = `#/${to}/`), name);
  await page.waitForFunction((to) => {
    const titles = [...document.querySelectorAll('.v-breadcrumbs')];
    return titles.length === 1 && titles[0].textContent.toLowerCase().includes(to);
  }, name);
}

const rowOf = (page, text) => page.locator('tbody tr', { hasText: text });

async function step(name, action) {
  try {
    await action();
    console.log(`ok: ${name}`);
  } catch (error) {
    throw new Error(`step failed: ${name}\n${error.stack ?? error}`);
  }
}

mkdirSync(screenshots, { recursive: true });
const origin = `http://127.0.0.1:${await servePage()}`;
const { context, closeBrowser } = await openBrowser();
const page = await context.newPage();
await page.setViewportSize({ width: 1400, height: 900 });
page.setDefaultTimeout(TIMEOUT_MS);
const complaints = [];
page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message}`));
const outside = [];
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
console.log(`PAGE ${origin}`);
const node = (await lines.next()).value.trim();
page.on('request', (request) => {
  if (![origin, node].includes(new URL(request.url()).origin)) outside.push(request.url());
});
let status = 0;
try {
  await main(page, origin, node);
  if (complaints.length) throw new Error(complaints.join('\n'));
  const foreign = outside.filter((url) => url.startsWith('http'));
  if (foreign.length) throw new Error(`asked of others: ${foreign}`);
} catch (error) {
  console.error(error.message);
  await page.screenshot({ path: join(screenshots, 'admin-ui-failure.png') }).catch(() => {});
  status = 1;
}
await closeBrowser();
process.exit(status);

// Drives the admin page in headless Chromium, as an operator would.
//
//   node tests/browser/admin.mjs URL NAME PASSWORD SCREENSHOT_FOLDER [PAGE_FOLDER]
//
// The caller keeps two clients of alice and one of bob connected, alice in the room news:alice,
// and emits all the time. When this prints `DISCONNECTED ID`, `REVOKED bob` or `GONE alice`, the
// caller looks whether it is so. With PAGE_FOLDER the page's files come from there, for whoever
// works on them. Exit 0, or 1 with the name of the step that failed.

import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openBrowser } from './chromium.mjs';

const [url, name, password, screenshots, folder] = process.argv.slice(2);
if (!screenshots) {
  console.error('usage: admin.mjs URL NAME PASSWORD SCREENSHOT_FOLDER [PAGE_FOLDER]');
  process.exit(64);
}

const TIMEOUT_MS = 30_000;
const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 360, height: 780 };
const HISTOGRAM = 'tidings_emit_write_seconds';
const complaints = []; // What the browser itself found wrong, breaches of its policy included.
const outside = []; // What was asked of anybody but the node.
let looks = 0;

async function main(page) {
  await step('a wrong password is refused in a sentence', async () => {
    await page.goto(url);
    await pictures(page, 'login');
    await logIn(page, 'not the password');
    await page.getByText('The name or the password is wrong.').waitFor();
  });

  await step('log in', async () => {
    await logIn(page, password);
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    await page.locator('#status', { hasText: 'ok' }).waitFor();
    const cookies = await page.context().cookies(url);
    const cookie = cookies.find((it) => it.name === 'tidings-admin');
    if (!cookie?.httpOnly || cookie.sameSite !== 'Strict') throw new Error(JSON.stringify(cookie));
    if (await page.evaluate(() => document.cookie)) throw new Error('scripts see the cookie');
  });

  await step('figures are there and move', async () => {
    const figure = (id) => page.locator(`#figure-${id}`);
    await figure('sockets').filter({ hasText: /[1-9]/ }).waitFor();
    await figure('emits').filter({ hasText: /[1-9]/ }).waitFor();
    await figure('deliveries').filter({ hasText: /[1-9]/ }).waitFor();
    await changes(page, '#figure-emits');
    await page.locator('.sparkline path[d*="L"]').first().waitFor({ state: 'attached' });
  });

  await step('all nodes and their links are shown', async () => {
    await page.locator('#nodes tbody tr').nth(1).getByText('linked', { exact: true }).waitFor();
    await page.locator('#nodes tbody tr').nth(1).getByText(/\d ms/).waitFor();
    await page.locator('#limits').getByText('limits.events_per_minute_per_user').waitFor();
    await page.locator('#health').getByText('Disk free').waitFor();
  });

  await step('latency is shown where it is measured', async () => {
    await page.locator('#latency').getByText('99 % within').waitFor();
    await page.locator('#latency').getByText('5.00 ms').first().waitFor();
  });
  await pictures(page, 'overview');

  await step('a node that is dead, or silent, is not shown as ready', async () => {
    const dead = (cluster) => (cluster.peers[0].alive = false);
    const row = page.locator('#nodes tbody tr').nth(1);
    await pretend(page, '**/overview', (it) => dead(it.cluster));
    await row.getByText('dead').waitFor();
    if (/ready|\d ms/.test(await row.textContent())) throw new Error(await row.textContent());
    await page.getByRole('link', { name: 'Sockets' }).click();
    await page.getByText('south is not heard of').waitFor();
    await page.getByText('on the nodes that answered').waitFor();
    await page.unroute('**/overview');
    await page.getByText('south is not heard of').waitFor({ state: 'hidden' });
    await page.route('**/overview', (route) => route.abort());
    await page.locator('#status', { hasText: 'no answer' }).waitFor();
    await page.getByRole('alert').getByText('The node does not answer.').waitFor();
    await page.unroute('**/overview');
    await page.locator('#status', { hasText: 'ok' }).waitFor();
    await page.locator('#away').waitFor({ state: 'hidden' });
  });

  await step('rooms are found, with their members', async () => {
    await page.getByRole('link', { name: 'Rooms' }).click();
    await page.getByLabel('Name contains').fill('news');
    await page.getByRole('button', { name: 'Search' }).click();
    await pictures(page, 'rooms');
    await page.getByRole('link', { name: 'news:alice' }).click();
    await page.getByText('in /.').waitFor();
    await page.getByRole('link', { name: 'alice', exact: true }).first().waitFor();
  });

  await step('sockets are listed', async () => {
    await page.getByRole('link', { name: 'Sockets' }).click();
    await page.getByText('on all nodes.').waitFor();
    await page.locator('tbody tr').nth(2).waitFor();
    await pictures(page, 'sockets');
  });

  await step('a user is found', async () => {
    await page.getByRole('link', { name: 'Users' }).click();
    await find(page, 'alice');
    await page.locator('#user .pill', { hasText: '2 sockets on all nodes' }).waitFor();
    await pictures(page, 'user');
  });

  await step('names that look alike are told apart, and those that have no path are explained', async () => {
    for (const [user, shown] of [['al\u202Eice', 'al\\u202Eice'], ['alice ', 'alice\\u0020'], ['al\\u202Eice', 'al\\\\u202Eice']]) {
      await find(page, user);
      await page.getByRole('heading', { name: shown, exact: true }).waitFor();
    }
    await page.getByRole('button', { name: 'Disconnect user' }).click();
    await page.getByRole('heading', { name: 'Disconnect al\\\\u202Eice?' }).waitFor();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await find(page, '..');
    await page.getByText('A browser cannot ask for this name').waitFor();
    await find(page, 'alice');
    await page.locator('#user .pill', { hasText: '2 sockets on all nodes' }).waitFor();
  });

  await step('a login in another tab disturbs nobody', async () => {
    await page.evaluate(async ([username, password]) => {
      const headers = { 'Content-Type': 'application/json' };
      await fetch('login', { method: 'POST', headers, body: JSON.stringify({ username, password }) });
    }, [name, password]);
    await find(page, 'bob');
    await page.locator('#user .pill', { hasText: '1 socket on all nodes' }).waitFor();
    await find(page, 'alice');
    await page.locator('#user .pill', { hasText: '2 sockets on all nodes' }).waitFor();
  });

  await step('what is not confirmed is not done', async () => {
    await page.getByRole('button', { name: 'Disconnect user' }).click();
    await page.getByRole('heading', { name: 'Disconnect alice?' }).waitFor();
    await pictures(page, 'confirm');
    await page.keyboard.press('Enter'); // On "Cancel", which has the focus.
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
    await page.locator('#user .pill', { hasText: '2 sockets on all nodes' }).waitFor();
  });

  await step('one of its sockets is disconnected', async () => {
    const id = await page.locator('#user tbody tr').first().locator('code').textContent();
    await page.getByRole('button', { name: `Disconnect socket ${id}` }).click();
    await confirm(page, 'Disconnect');
    await page.locator('#done', { hasText: `Socket ${id} was disconnected.` }).waitFor();
    await page.locator('#user .pill', { hasText: '1 socket on all nodes' }).waitFor();
    console.log(`DISCONNECTED ${id}`);
  });

  await step('a reload stays logged in, at the same place', async () => {
    await page.reload();
    await page.locator('#user .pill', { hasText: '1 socket on all nodes' }).waitFor();
  });

  await step('all of a user is disconnected', async () => {
    await page.getByRole('button', { name: 'Disconnect user' }).click();
    await confirm(page, 'Disconnect user');
    await page.locator('#done', { hasText: '1 socket of alice disconnected.' }).waitFor();
    await page.locator('#user .pill', { hasText: 'not connected' }).waitFor();
    console.log('GONE alice');
  });

  await step('the sessions of a user are revoked', async () => {
    await find(page, 'bob');
    await page.locator('#user .pill', { hasText: '1 socket on all nodes' }).waitFor();
    // As a node answers that could not tell another one.
    await page.route('**/users/bob/sessions', async (route) => {
      await route.fetch();
      await route.fulfill({ json: { unreachable: ['south'] } });
    });
    await page.getByRole('button', { name: 'Revoke sessions' }).click();
    await confirm(page, 'Revoke sessions');
    const said = 'The sessions of bob have ended. south did not answer: it ends them when it is back.';
    await page.locator('#done', { hasText: said }).waitFor();
    await page.locator('#user .pill', { hasText: 'not connected' }).waitFor();
    console.log('REVOKED bob');
  });

  await step('the keyboard suffices', async () => {
    await page.reload();
    await page.locator('#user .pill').waitFor();
    await page.keyboard.press('Tab');
    const first = await page.evaluate(() => document.activeElement.textContent);
    if (first !== 'Skip to the content') throw new Error(`the first stop is ${first}`);
    await page.keyboard.press('Enter');
    await page.reload();
    await page.locator('#user .pill').waitFor();
    await page.getByRole('link', { name: 'Rooms' }).click();
    await page.locator('h1:focus', { hasText: 'Rooms' }).waitFor();
    await page.goBack();
    await page.locator('#user .pill').waitFor();
    const unnamed = await page.evaluate(() =>
      [...document.querySelectorAll('input, button, a')].filter(
        (it) => it.checkVisibility() && !(it.labels?.length || it.textContent.trim() || it.getAttribute('aria-label'))).length);
    if (unnamed) throw new Error(`${unnamed} controls have no name`);
  });

  await step('log out', async () => {
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByText('You have logged out.').waitFor();
    await page.reload();
    await page.getByLabel('Password').waitFor();
    if (await page.locator('#view').isVisible()) throw new Error('the page is still shown');
  });

  await step('the browser had nothing to complain about, and asked nobody else', () => {
    if (complaints.length) throw new Error(complaints.join('\n'));
    if (outside.length) throw new Error(`asked of others: ${outside}`);
    if (!looks) throw new Error('the latency was never looked for');
  });
}

async function logIn(page, secret) {
  await page.getByLabel('Name', { exact: true }).fill(name);
  await page.getByLabel('Password').fill(secret);
  await page.getByRole('button', { name: 'Log in' }).click();
}

async function find(page, user) {
  await page.getByLabel('Id of a user').fill(user);
  await page.getByRole('button', { name: 'Find' }).click();
}

// What a node answers, changed.
async function pretend(page, pattern, change) {
  await page.route(pattern, async (route) => {
    const response = await route.fetch();
    const json = await response.json();
    change(json);
    await route.fulfill({ response, json });
  });
}

async function confirm(page, text) {
  await page.getByRole('dialog').getByRole('button', { name: text, exact: true }).click();
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
}

async function changes(page, selector) {
  const before = await page.locator(selector).textContent();
  const moved = ([css, text]) => document.querySelector(css).textContent !== text;
  await page.waitForFunction(moved, [selector, before]);
}

// Wide and narrow, light and dark; nothing may stick out to the right.
async function pictures(page, view) {
  for (const [size, colorScheme] of [[WIDE, 'light'], [WIDE, 'dark'], [NARROW, 'light']]) {
    await page.setViewportSize(size);
    await page.emulateMedia({ colorScheme });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (overflow > 0) throw new Error(`${await sticking(page)}; ${view} at ${size.width}: ${overflow} px stick out to the right`);
    const path = join(screenshots, `admin-${view}-${colorScheme}-${size.width}.png`);
    await page.screenshot({ path, fullPage: true });
  }
  await page.setViewportSize(WIDE);
  await page.emulateMedia({ colorScheme: 'light' });
}

// What is at fault, innermost first.
function sticking(page) {
  return page.evaluate(() => [...document.querySelectorAll('body *')].reverse()
    .filter((it) => it.getBoundingClientRect().right > innerWidth)
    .slice(0, 3).map((it) => `${it.tagName} "${it.textContent.slice(0, 40)}"`).join(', '));
}

async function step(title, action) {
  try {
    await action();
    console.log(`ok: ${title}`);
  } catch (error) {
    throw new Error(`step failed: ${title}\n${error.stack ?? error}`);
  }
}

function listen(page) {
  page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message}`));
  page.on('console', (message) => {
    // The wrong password, the proof of another tab's session, and the node that does not answer.
    const expected = /status of 40[13]|ERR_FAILED/.test(message.text());
    if (message.type() === 'error' && !expected) complaints.push(`console: ${message.text()}`);
  });
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) outside.push(request.url());
  });
}

// A node that does not measure the way from emit to write seems to.
async function measure(page) {
  await page.route('**/metrics', async (route) => {
    looks += 1;
    const response = await route.fetch();
    const text = await response.text();
    const made = ['0.001', '0.005', '+Inf'].map((bound, at) =>
      `${HISTOGRAM}_bucket{shard="0",le="${bound}"} ${[10, 100, 100][at]}`);
    await route.fulfill({ response, body: text.includes(HISTOGRAM) && looks > 1 ? text : `${made.join('\n')}\n` });
  });
}

async function serveFrom(page) {
  await page.route('**/admin/*.{js,css}', async (route) => {
    const response = await route.fetch();
    const file = new URL(route.request().url()).pathname.split('/').at(-1);
    await route.fulfill({ response, body: readFileSync(join(folder, file)) });
  });
}

mkdirSync(screenshots, { recursive: true });
const { context, closeBrowser } = await openBrowser();
const page = await context.newPage();
page.setDefaultTimeout(TIMEOUT_MS);
listen(page);
await measure(page);
if (folder) await serveFrom(page);
let status = 0;
try {
  await main(page);
} catch (error) {
  console.error(error.message, complaints);
  await page.screenshot({ path: join(screenshots, 'admin-failure.png') }).catch(() => {});
  status = 1;
}
await closeBrowser();
process.exit(status);

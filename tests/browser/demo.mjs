// Drives the demo page in headless Chromium, as its user would.
//
//   node tests/browser/demo.mjs URL PASSWORD SCREENSHOT_FOLDER [transport]
//
// When it prints RESTART-NOW, the caller restarts the server on the same port and data, then writes
// `done` on the script's standard input. Exit 0, or 1 with the name of the step that failed.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { openBrowser } from './chromium.mjs';

const [url, password, screenshots, transport] = process.argv.slice(2);
if (!screenshots) {
  console.error('usage: demo.mjs URL PASSWORD SCREENSHOT_FOLDER [polling|websocket]');
  process.exit(64);
}

const USER = 'alice';
const TIMEOUT_MS = 30_000;
const RESTART_MS = 90_000;

const input = createInterface({ input: process.stdin });
const answers = input[Symbol.asyncIterator]();
const complaints = []; // What the browser itself found wrong, content policy breaches included.
let restarting = false;

async function main(page) {
  await step('a wrong password is refused in a sentence', async () => {
    await page.goto(transport ? `${url}?transport=${transport}` : url);
    await logIn(page, 'not the password');
    await page.getByText('User name or password is wrong.').waitFor();
  });

  await step('log in and go live', async () => {
    await logIn(page, password);
    await state(page, ['live']);
  });

  await step('the wanted transport carries the events', async () => {
    const name = transport === 'polling' ? 'Long polling' : 'WebSocket';
    await page.locator('#transport', { hasText: name }).waitFor();
  });

  await step('quotes move', () => quotesMove(page));
  await step('the portfolio adds up', () => portfolioAddsUp(page));
  await step('latency is measured', () => page.locator('#latency', { hasText: /\d ms/ }).waitFor());

  await step('add a symbol and see it move', async () => {
    await watch(page, 'tsla');
    await priceOf(page, 'TSLA').filter({ hasText: /\d/ }).waitFor();
    await changes(page, '[data-symbol="TSLA"] .price');
  });

  await step('a bad symbol is refused in a sentence', async () => {
    await watch(page, 'NO$GOOD');
    await page.locator('#watch-error', { hasText: 'not a symbol' }).waitFor();
    if (await page.locator('[data-symbol="NO$GOOD"]').count()) throw new Error('it was added');
  });

  await step('remove a symbol', async () => {
    await page.getByRole('button', { name: 'Stop watching TSLA' }).click();
    await page.locator('#quotes [data-symbol="TSLA"]').waitFor({ state: 'detached' });
  });

  await step('a trade arrives, in the list and as a notification', async () => {
    await page.locator('#trades li').first().waitFor();
    await page.locator('.toast').first().waitFor();
  });

  await step('nothing sticks out, light, dark or on a phone', () => screenshotsOf(page));

  await step('a reload stays logged in', async () => {
    await page.reload();
    await state(page, ['live']);
    await quotesMove(page);
  });

  await step('the page lives through a restart of the server', async () => {
    await page.locator('#trades li').first().waitFor();
    const before = await tradeIds(page);
    restarting = true;
    console.log('RESTART-NOW');
    await state(page, ['reconnecting']);
    if (!(await priceOf(page, 'AAPL').textContent()).match(/\d/))
      throw new Error('prices vanished');
    const [now] = await Promise.all([
      state(page, ['recovered', 'refreshed'], RESTART_MS),
      said('done'),
    ]);
    restarting = false;
    console.log(`came back: ${now}`);
    const after = await tradeIds(page);
    const lost = before.filter((id) => !after.includes(id));
    if (lost.length) throw new Error(`trades vanished from the list: ${lost}`);
    if (new Set(after).size < after.length) throw new Error(`a trade is listed twice: ${after}`);
  });

  await step('quotes move again', () => quotesMove(page));

  await step('trades arrive again', async () => {
    const known = (await tradeIds(page))[0];
    await page.locator(`#trades li:first-child:not([data-trade="${known}"])`).waitFor();
  });

  await page.screenshot({ path: join(screenshots, 'after-restart.png') });

  await step('log out, and the session is gone', async () => {
    const session = await page.evaluate(() => sessionStorage.getItem('tidings.session'));
    await Promise.all([
      page.waitForResponse((response) => response.url().endsWith('/auth/logout') && response.ok()),
      page.getByRole('button', { name: 'Log out' }).click(),
    ]);
    await page.getByRole('heading', { name: 'Log in' }).waitFor();
    await page.evaluate((stolen) => sessionStorage.setItem('tidings.session', stolen), session);
    await page.reload();
    await page.getByText('Your session has ended. Please log in again.').waitFor();
  });

  await step('the browser had nothing to complain about', () => {
    if (complaints.length) throw new Error(complaints.join('\n'));
  });
}

// -- what a user does

async function logIn(page, secret) {
  await page.getByLabel('User name').fill(USER);
  await page.getByLabel('Password').fill(secret);
  await page.getByRole('button', { name: 'Log in' }).click();
}

async function watch(page, symbol) {
  await page.getByLabel('Symbol to watch').fill(symbol);
  await page.getByRole('button', { name: 'Watch', exact: true }).click();
}

// -- what a user sees

const priceOf = (page, symbol) => page.locator(`#quotes [data-symbol="${symbol}"] .price`);

function tradeIds(page) {
  return page.locator('#trades li').evaluateAll((items) => items.map((item) => item.dataset.trade));
}

async function state(page, wanted, timeout = TIMEOUT_MS) {
  const pill = '#connection';
  const matching = wanted.map((name) => `${pill}[data-state="${name}"]`).join(', ');
  const found = page.locator(matching);
  await found.waitFor({ timeout });
  return found.getAttribute('data-state');
}

async function quotesMove(page) {
  for (const symbol of ['AAPL', 'BTC-USD']) {
    await priceOf(page, symbol).filter({ hasText: /\d/ }).waitFor();
    await changes(page, `#quotes [data-symbol="${symbol}"] .price`);
  }
}

async function changes(page, selector) {
  const before = await page.locator(selector).textContent();
  const moved = ([css, text]) => document.querySelector(css).textContent !== text;
  await page.waitForFunction(moved, [selector, before]);
}

// The sums are read in one turn of the page, so no update can come in between.
async function portfolioAddsUp(page) {
  await page.locator('#positions tr').first().waitFor();
  const { total, cash, values } = await page.evaluate(() => {
    const number = (element) => Number(element.textContent.replaceAll(',', ''));
    return {
      total: number(document.getElementById('total')),
      cash: number(document.getElementById('cash')),
      values: [...document.querySelectorAll('#positions .value')].map(number),
    };
  });
  const sum = values.reduce((all, value) => all + value, cash);
  if (!(Math.abs(sum - total) < 0.01 * (values.length + 1))) {
    throw new Error(`cash ${cash} and positions ${values} are not ${total}`);
  }
}

// -- the frame

async function screenshotsOf(page) {
  const looks = [
    ['light', { width: 1280, height: 900 }],
    ['dark', { width: 1280, height: 900 }],
    ['light', { width: 390, height: 844 }],
  ];
  for (const [colorScheme, size] of looks) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize(size);
    const name = `${colorScheme}-${size.width}.png`;
    await page.screenshot({ path: join(screenshots, name), fullPage: size.width < 500 });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (overflow > 0) throw new Error(`${name}: ${overflow} px stick out to the right`);
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(looks[0][1]);
}

async function step(name, action) {
  try {
    await action();
    console.log(`ok: ${name}`);
  } catch (error) {
    throw new Error(`step failed: ${name}\n${error.stack ?? error}`);
  }
}

async function said(wanted) {
  const { value, done } = await answers.next();
  if (done || value.trim() !== wanted) throw new Error(`expected "${wanted}" on standard input`);
}

function listenForComplaints(page) {
  page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message}`));
  page.on('console', (message) => {
    // While the server is away, and for the wrong password, the browser reports failed requests.
    const expected = restarting || /status of 401/.test(message.text());
    if (message.type() === 'error' && !expected) complaints.push(`console: ${message.text()}`);
  });
}

mkdirSync(screenshots, { recursive: true });
const { context, closeBrowser } = await openBrowser();
const page = await context.newPage();
page.setDefaultTimeout(TIMEOUT_MS);
listenForComplaints(page);
let status = 0;
try {
  await main(page);
} catch (error) {
  console.error(error.message);
  await page.screenshot({ path: join(screenshots, 'failure.png') }).catch(() => {});
  status = 1;
}
await closeBrowser();
process.exit(status);

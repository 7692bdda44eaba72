// Debian's Chromium, started so that it asks nothing of the network but our own servers.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

// A browser with an empty profile, and the function that ends it and removes the profile.
export async function openBrowser() {
  const profile = mkdtempSync(join(tmpdir(), 'tidings-browser-'));
  const options = { executablePath: '/usr/bin/chromium', args: FLAGS, headless: true };
  const context = await chromium.launchPersistentContext(profile, options);
  const closeBrowser = async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  };
  return { context, closeBrowser };
}

/** WebSockets of other makers: Python's libraries on both sides, a browser with a page of ours. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { makeApp } from '../../examples/live.ts';
import { openWebSocket } from '../../lib/http/client/open-socket.ts';
import { policyName } from '../support/policy.ts';
import { inRun } from '../task/support.ts';
import { realNetwork, withServer } from './support.ts';
import { echo, withSockets } from './websocket-support.ts';

const python = '/usr/bin/python3';
const script = fileURLToPath(new URL('websocket-peers.py', import.meta.url));
const hasPeers =
  realNetwork &&
  existsSync(python) &&
  spawnSync(python, ['-c', 'import aiohttp, websockets']).status === 0;

const limits = { maxMessageBytes: 2 ** 22, maxBufferedBytes: 2 ** 23 };

async function echoes(port: number, compress: boolean): Promise<void> {
  await using socket = await openWebSocket(`ws://127.0.0.1:${port}/`, { ...limits, compress });
  const messages = [0, 5, 1_000, 70_000, 5, 200_000].map((size) => `${size} é `.repeat(size / 6));
  for (const message of [...messages, Buffer.from([0, 255])]) {
    await socket.send(message);
    expect(await socket.receive()).toEqual(message);
  }
  await socket.ping();
  await socket.close(4000, 'enough');
  // Servers may answer with a code of their own.
  expect([1000, 4000]).toContain(socket.closeCode);
}

describe.skipIf(!hasPeers)(
  'aiohttp and websockets (Debian: python3-aiohttp, python3-websockets)',
  () => {
    test(
      'are understood as servers and as clients, compressed',
      () =>
        inRun(() =>
          withSockets(
            echo,
            async (url) => {
              const peers = spawn(python, [script, url], { stdio: ['pipe', 'pipe', 'inherit'] });
              const lines = createInterface({ input: peers.stdout })[Symbol.asyncIterator]();
              const read = async (): Promise<unknown> =>
                JSON.parse((await lines.next()).value ?? 'null');
              try {
                for (const port of (await read()) as number[]) {
                  await echoes(port, false);
                  await echoes(port, true);
                }
                peers.stdin.write('go\n');
                expect(await read()).toEqual([
                  [['permessage-deflate'], 1000],
                  [12, 1000],
                ]);
              } finally {
                peers.kill();
                await once(peers, 'close');
              }
            },
            { ...limits, compress: { minBytes: 0 } },
          ),
        ),
      20_000,
    );
  },
);

const browser = '/usr/bin/chromium';
const quiet = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

// A browser takes a second to start: on one policy.
describe.skipIf(policyName !== 'native' || !existsSync(browser))(
  'a browser (Debian: chromium)',
  () => {
    test('chats, and sees prices', async () => {
      const { chromium } = await import('playwright-core');
      const home = mkdtempSync(join(tmpdir(), 'uvio-browser-'));
      const window = await chromium.launchPersistentContext(home, {
        executablePath: browser,
        args: quiet,
        headless: true,
      });
      try {
        await inRun(() =>
          withServer(makeApp(20), async (url) => {
            const [page, other] = [await window.newPage(), await window.newPage()];
            const errors: Error[] = [];
            for (const one of [page, other]) {
              one.on('pageerror', (error) => errors.push(error));
              await one.goto(url);
              await one.waitForSelector('body.open');
            }
            await page.fill('#name', 'ada');
            await page.fill('#text', 'hello <b>there</b>');
            await page.click('button');
            for (const one of [page, other]) {
              const line = await one.waitForSelector('#log p');
              expect(await line.textContent()).toBe('adahello <b>there</b>');
            }
            await page.waitForFunction(
              "/^-?\\d+\\.\\d$/.test(document.querySelector('#price').value)",
            );
            expect(errors).toEqual([]);
          }),
        );
      } finally {
        await window.close();
        rmSync(home, { recursive: true, force: true });
      }
    }, 30_000);
  },
);

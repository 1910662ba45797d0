/** WebSockets of other makers: Python's libraries on both sides, a browser with a page of ours. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { makeApp } from '../../examples/live.ts';
import { openWebSocket } from '../../lib/http/client/open-socket.ts';
import { foreignEnv } from '../support/foreign.ts';
import { policyName } from '../support/policy.ts';
import { inRun } from '../task/support.ts';
import { realNetwork, withServer } from './support.ts';
import { echo, withSockets } from './websocket-support.ts';

const python = '/usr/bin/python3';
const script = fileURLToPath(new URL('websocket-peers.py', import.meta.url));
const hasPeers =
  realNetwork &&
  existsSync(python) &&
  spawnSync(python, ['-c', 'import aiohttp, websockets'], { env: foreignEnv() }).status === 0;

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
              const peers = spawn(python, [script, url], {
                stdio: ['pipe', 'pipe', 'inherit'],
                env: foreignEnv(),
              });
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
      const window = await chromium.launch({
        executablePath: browser,
        args: quiet,
        env: foreignEnv() as Record<string, string>,
      });
      try {
        await inRun(() =>
          withServer(makeApp(20), async (url) => {
            const page = await window.newPage();
            const errors: Error[] = [];
            page.on('pageerror', (error) => errors.push(error));
            await page.goto(url);
            await page.waitForSelector('body.open');
            await using other = await openWebSocket(`${url.replace('http', 'ws')}/chat/den`);
            await page.fill('#name', 'ada');
            await page.fill('#text', 'hello <b>there</b>');
            await page.click('button');
            const said = { name: 'ada', text: 'hello <b>there</b>' };
            expect(await other.receiveJson()).toEqual(said);
            await other.sendJson({ name: 'bob', text: 'hi' });
            const lines = await page.waitForSelector('#log p:nth-child(2)');
            expect(await lines.textContent()).toBe('bobhi');
            expect(await page.textContent('#log p')).toBe('adahello <b>there</b>');
            await page.waitForFunction("Number(document.querySelector('#price').value) > 0");
            await page.close();
            expect(errors).toEqual([]);
          }),
        );
      } finally {
        await window.close();
      }
    }, 30_000);
  },
);

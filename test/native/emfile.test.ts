/**
 * Running out of descriptors while accepting: libuv, and so node:net and uvloop, would close every
 * connection of the backlog without a word. Native only: `pure()` has Node's behaviour.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { policyName } from '../support/policy.ts';

const clients = 200;
const closedLater = 30;

test.runIf(policyName === 'native')(
  'EMFILE drops nobody and is told once a second',
  async () => {
    const file = fileURLToPath(new URL('programs/emfile.mjs', import.meta.url));
    const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'inherit'] });
    const messages: { port?: number; error?: string; syscall?: string; cpuMs?: number }[] = [];
    const lines = createInterface(child.stdout);
    lines.on('line', (line) => messages.push(JSON.parse(line)));
    await once(lines, 'line');
    const port = messages[0]?.port as number;

    let lost = 0;
    const served: Socket[] = [];
    const all: Socket[] = [];
    for (let i = 0; i < clients; i += 1) {
      const socket = connect(port, '127.0.0.1');
      all.push(socket);
      socket.once('data', () => served.push(socket));
      socket.on('error', () => (lost += 1));
      socket.on('end', () => (lost += 1));
      await once(socket, 'connect');
    }
    await expect.poll(() => messages.length, { timeout: 5000 }).toBeGreaterThan(1);
    expect(messages[1]).toEqual({ error: 'EMFILE', syscall: 'accept' });
    await expect.poll(() => served.length, { timeout: 5000 }).toBeGreaterThan(20);
    const first = served.length;
    expect(first).toBeLessThan(64);

    // Each descriptor that is freed serves one more, at once.
    for (const socket of served.slice(0, closedLater)) socket.destroy();
    await expect.poll(() => served.length, { timeout: 5000 }).toBe(first + closedLater);
    expect(lost).toBe(0);

    // Waiting costs next to nothing.
    child.kill('SIGUSR2');
    const measured = (): number => messages.filter((message) => 'cpuMs' in message).length;
    await expect.poll(measured, { timeout: 5000 }).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    child.kill('SIGUSR2');
    await expect.poll(measured, { timeout: 5000 }).toBe(2);
    const [before, after] = messages.filter((message) => 'cpuMs' in message);
    expect((after?.cpuMs as number) - (before?.cpuMs as number)).toBeLessThan(60);
    expect(messages.filter((message) => 'error' in message).length).toBeLessThan(5);
    expect(lost).toBe(0);
    child.kill();
    for (const socket of all) socket.destroy();
  },
  30_000,
);

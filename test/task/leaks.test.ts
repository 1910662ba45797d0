/**
 * Nothing is kept of what was cancelled: 8,000 of each of 19 kinds leave the heap as it was.
 * UVIO_LEAK_COUNT=1000000 is the long form.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { inMemory, policyName } from '../support/policy.ts';

const count = Number(process.env['UVIO_LEAK_COUNT'] ?? 8_000);
const patienceMs = 60_000 + count;
/** By one of four rounds: the smallest object lost for each of it would be more. */
const allowedBytes = 100_000 + count / 4;

interface Report {
  readonly count: number;
  readonly grown: Readonly<Record<string, number>>;
  readonly tasks: number;
  readonly timers: number;
  readonly listeners: number;
}

async function runProgram(): Promise<Report> {
  const source = fileURLToPath(new URL('./leak-process.ts', import.meta.url));
  const loader = fileURLToPath(new URL('./ts-loader.mjs', import.meta.url));
  const args = ['--expose-gc', '--disable-warning=DEP0205', '--import', loader, source];
  const child = spawn(process.execPath, args, {
    env: { ...process.env, UVIO_POLICY: policyName, UVIO_LEAK_COUNT: String(count) },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: patienceMs,
  });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect(code).toBe(0);
  return JSON.parse(out) as Report;
}

// The program needs a policy of the package, and a heap without instruments.
const elsewhere = inMemory || process.env['UVIO_SANITIZED'] === '1';

describe.skipIf(elsewhere)(`${count} of each kind, cancelled`, () => {
  let report: Report;
  beforeAll(async () => {
    report = await runProgram();
  }, patienceMs);

  test('leave the heap as it was', () => {
    const grown = Object.entries(report.grown).filter(([, bytes]) => bytes > allowedBytes);
    expect(grown).toEqual([]);
    expect(Object.keys(report.grown).length).toBeGreaterThan(15);
  });

  test('leave no listener on a signal that lives on', () => {
    expect(report.listeners).toBe(0);
  });

  test('leave no task and no timer', () => {
    // The main task, and the timer that keeps the process alive.
    expect([report.tasks, report.timers]).toEqual([1, 1]);
  });
});

/** What the tests of servers that break the protocol share. */
import { expect, test } from 'vitest';
import type { ConnectOptions } from '../../lib/postgres/types.ts';
import { inRun } from '../task/support.ts';
import { type Script, withFake } from './fake.ts';

export const options: ConnectOptions = {
  host: '127.0.0.1',
  user: 'somebody',
  password: 'secret',
  database: 'db',
  tls: 'disable',
  timeoutMs: 20_000,
};

/** Much less than the time limit. */
const fast = 10_000;

/** What the attempt ends with, and how long that took. */
export async function outcome(work: () => Promise<unknown>): Promise<Error> {
  const beginMs = performance.now();
  const result = await work().then(
    (value) => new Error(`it succeeded with ${JSON.stringify(value)}`),
    (error: Error) => error,
  );
  expect(performance.now() - beginMs).toBeLessThan(fast);
  return result;
}

export function evilTest(
  title: string,
  script: Script,
  use: (port: number) => Promise<void>,
): void {
  test(title, () => inRun(() => withFake(script, use)));
}

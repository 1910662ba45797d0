/**
 * The examples of the texts that uvio started from: each prints what it should, in order, on a
 * clock that jumps (and takes exactly its time), and in real time, with short seconds.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { format } from 'node:util';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import * as e01 from '../../examples/seeds/e01-gather.ts';
import * as e05 from '../../examples/seeds/e05-nursery.ts';
import * as e06 from '../../examples/seeds/e06-time-limit.ts';
import * as e07 from '../../examples/seeds/e07-spawn-join.ts';
import * as e09 from '../../examples/seeds/e09-policy.ts';
import * as e10 from '../../examples/seeds/e10-hello.ts';
import * as e12 from '../../examples/seeds/e12-running-calls.ts';
import * as e13 from '../../examples/seeds/e13-run-gives-a-value.ts';
import * as e17 from '../../examples/seeds/e17-one-after-the-other.ts';
import * as e18 from '../../examples/seeds/e18-at-the-same-time.ts';
import * as e19 from '../../examples/seeds/e19-task-and-other-work.ts';
import * as e20 from '../../examples/seeds/e20-task-took-too-long.ts';
import * as e22 from '../../examples/seeds/e22-background-worker.ts';
import * as e23 from '../../examples/seeds/e23-cancelling.ts';
import * as e24 from '../../examples/seeds/e24-blocking-call.ts';
import * as e25 from '../../examples/seeds/e25-forgotten-await.ts';
import * as e27 from '../../examples/seeds/e27-two-tasks.ts';
import * as e28 from '../../examples/seeds/e28-fetch-and-process.ts';
import * as e29 from '../../examples/seeds/e29-awaited-in-turn.ts';
import * as e30 from '../../examples/seeds/e30-future.ts';
import * as e31 from '../../examples/seeds/e31-error-through-await.ts';
import * as x03 from '../../examples/seeds/x03-every.ts';
import * as x05 from '../../examples/seeds/x05-errors-and-retries.ts';
import { getLoopPolicy, setLoopPolicy } from '../../lib/loop/policy.ts';
import { getRunningLoop, type RunOptions, run } from '../../lib/task/run.ts';
import { testPolicy } from '../support/policy.ts';
import { virtualPolicy } from '../task/support.ts';

interface Example {
  readonly title: string;
  readonly main: (second: number) => Promise<unknown>;
  /** What `console.log` gets, line by line; a pattern where a time is in it. */
  readonly lines: readonly (string | RegExp)[];
  /** On the virtual clock; null where chance is in it. */
  readonly seconds: number | null;
  readonly result?: unknown;
  readonly debug?: boolean;
}

const workerLine = 'Background worker running...';
const children = ['A', 'B', 'C'].map(
  (name, i) => `Child ${name} starting, will sleep for ${[2, 1, 3][i]} seconds`,
);
const bodies = ['<p>https://a.example/</p>', '<p>https://b.example/</p>'];
const urls = ['users', 'posts', 'comments'].map((name) => `Data from api.example.com/${name}`);
const other = 'Doing other work';
const fetching = 'Start fetching data';
const fetched = ['Still working...', 'Data fetched', "Got result: { data: 'important stuff' }"];

const examples: readonly Example[] = [
  { title: 'E1', ...e01, lines: ['Received: Hello', 'Received: World'], seconds: 2 },
  {
    title: 'E5',
    ...e05,
    lines: [...children, 'Child B finished', 'Child A finished', 'Child C finished'],
    seconds: 3,
  },
  { title: 'E6', ...e06, lines: ['Operation timed out'], seconds: 3 },
  {
    title: 'E6, a limit for a group',
    main: e06.group,
    lines: ['Child A starting', 'Child B starting', 'Child A finished', 'Moved on'],
    seconds: 3,
  },
  {
    title: 'E7',
    ...e07,
    lines: [
      ...['TaskA: 3', 'TaskB: 2', 'TaskA: 2', 'TaskB: 1', 'TaskA: 1'],
      ...['TaskB done', 'TaskA done'],
    ],
    seconds: 3,
  },
  { title: 'E10, E16, E26', ...e10, lines: ['Hello', 'World'], seconds: 1 },
  { title: 'E12', ...e12, lines: format(urls).split('\n'), seconds: 2 },
  { title: 'E13', ...e13, lines: [], seconds: 1, result: bodies },
  {
    title: 'E17',
    ...e17,
    lines: [/^started at [\d.]+$/, 'hello', 'world', /^finished at [\d.]+$/],
    seconds: 3,
  },
  {
    title: 'E18',
    ...e18,
    lines: ["[ 'hello', 'world' ]", /^Completed in 2\.\d\d seconds$/],
    seconds: 2,
  },
  { title: 'E19', ...e19, lines: ['Creating task', other, fetching, ...fetched], seconds: 2 },
  {
    title: 'E19, eagerStart',
    main: (second) => e19.main(second, true),
    lines: ['Creating task', fetching, other, ...fetched],
    seconds: 2,
  },
  { title: 'E20', ...e20, lines: ['Task took too long!'], seconds: 2 },
  {
    title: 'E22',
    ...e22,
    lines: [...new Array<string>(5).fill(workerLine), 'Main logic completed'],
    seconds: 4.5,
  },
  {
    title: 'E23',
    ...e23,
    lines: ['Long task started', 'Long task was cancelled!', 'Main: task was cancelled'],
    seconds: 2,
  },
  {
    title: 'E24',
    // Blocks for real, so that a second is short on both clocks.
    main: () => e24.main(20),
    lines: ["Reported: Task 'main'"],
    seconds: 0.02,
    debug: true,
  },
  {
    title: 'E25',
    ...e25,
    lines: [
      "Reported: Task 'careless' has ended, but a call of its that was not awaited " +
        'still waits for sleep',
      ...['fetched', 'fetched', 'Data'],
    ],
    seconds: 1,
    debug: true,
  },
  {
    title: 'E27',
    ...e27,
    lines: [
      ...['Task One starting', 'Task Two starting'],
      ...['Task Two completed', 'Task One completed'],
    ],
    seconds: 2,
  },
  {
    title: 'E28',
    ...e28,
    lines: ['Fetching data...', 'Processing data...', 'Data processed!', 'Data fetched!'],
    seconds: 3,
  },
  {
    title: 'E29',
    ...e29,
    lines: [
      ...['Task A starting.', 'Task B starting.'],
      ...['Task B completed.', 'Task A completed.'],
    ],
    seconds: 2,
  },
  { title: 'E30', ...e30, lines: ['42'], seconds: 1 },
  {
    title: 'E31',
    main: e31.main,
    lines: ['Caught an error: Something went wrong!'],
    seconds: 0,
  },
  {
    title: 'X3',
    ...x03,
    lines: [
      ...['tick 0 after 0 s', 'tick 1 after 1 s', 'tick 2 after 2 s'],
      ...['tick 4 after 4 s', 'tick 5 after 5 s', 'stopped'],
    ],
    seconds: 5.5,
  },
  {
    title: 'X5',
    ...x05,
    lines: [
      ...['body of good', 'body of flaky', 'error: dead does not answer'],
      'calls: { good: 1, flaky: 3, dead: 3 }',
    ],
    seconds: null,
  },
];

/** Examples run side by side: each has its own lines, which follow its tasks. */
const printed = new AsyncLocalStorage<string[]>();
beforeAll(() => {
  vi.spyOn(console, 'log').mockImplementation((...args) => {
    printed.getStore()?.push(...format(...args).split('\n'));
  });
});
afterAll(() => {
  vi.restoreAllMocks();
});

function expectLines(found: readonly string[], lines: readonly (string | RegExp)[]): void {
  const wanted = lines.map((line) =>
    typeof line === 'string' ? line : expect.stringMatching(line),
  );
  expect(found).toEqual(wanted);
}

interface Outcome {
  readonly lines: readonly string[];
  readonly tookMs: number;
  readonly result: unknown;
}

async function runExample(example: Example, second: number, options: RunOptions): Promise<Outcome> {
  const lines: string[] = [];
  const main = async (): Promise<Outcome> => {
    const loop = getRunningLoop();
    const startMs = loop.time();
    const result = await example.main(second);
    return { lines, tookMs: loop.time() - startMs, result };
  };
  const all = { ...options, debug: example.debug ?? false, handleSignals: false } as const;
  return await printed.run(lines, () => run(main, all));
}

describe('on the virtual clock', () => {
  for (const example of examples) {
    test(`${example.title} prints its lines and takes its time`, async () => {
      const found = await runExample(example, 1000, { policy: virtualPolicy() });
      expectLines(found.lines, example.lines);
      expect(found.result).toEqual(example.result);
      if (example.seconds !== null) expect(found.tookMs).toBe(example.seconds * 1000);
    });
  }
});

describe('in real time', () => {
  const second = 300;
  const outcomes = new Map<Example, Promise<Outcome>>();
  beforeAll(() => {
    for (const example of examples) {
      const outcome = runExample(example, second, { policy: testPolicy() });
      // Its test comes later.
      outcome.catch(() => {});
      outcomes.set(example, outcome);
    }
  });

  for (const example of examples) {
    test(`${example.title} prints the same lines`, async () => {
      const together = outcomes.get(example);
      outcomes.delete(example);
      // A second attempt, on a machine that is busy, is alone.
      const found = await (together ?? runExample(example, second, { policy: testPolicy() }));
      expectLines(found.lines, example.lines);
      expect(found.result).toEqual(example.result);
      const leastMs = (example.seconds ?? 0) * second - 1;
      expect(found.tookMs).toBeGreaterThanOrEqual(leastMs);
    });
  }

  test('E9 sets the policy and prints its line', async () => {
    const before = getLoopPolicy();
    const lines: string[] = [];
    try {
      await printed.run(lines, () => e09.start(20));
      expect(getLoopPolicy().name).toBe('native');
    } finally {
      setLoopPolicy(before);
    }
    expectLines(lines, ['Task completed']);
  });
});

test('an example runs as a program of its own', () => {
  const source = new URL('../../examples/seeds/e10-hello.ts', import.meta.url);
  const loader = new URL('../task/ts-loader.mjs', import.meta.url);
  const flags = ['--disable-warning=DEP0205', '--import', fileURLToPath(loader)];
  const { status, stdout } = spawnSync(process.execPath, [...flags, fileURLToPath(source)], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  expect([status, stdout]).toEqual([0, 'Hello\nWorld\n']);
}, 25_000);

/** The tree of live tasks, as data and as text. */
import { describe, expect, test } from 'vitest';
import '../../lib/task/loop-methods.ts';
import { formatTaskTree, type TaskInfo, taskTree } from '../../lib/inspect/tree.ts';
import { Future } from '../../lib/task/future.ts';
import { TaskGroup, taskGroup } from '../../lib/task/group.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { checkpoint, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, type Task } from '../../lib/task/task.ts';
import { inMemory, testPolicy } from '../support/policy.ts';
import { inRun, runTest, virtualPolicy } from '../task/support.ts';

function find(tree: readonly TaskInfo[], name: string): TaskInfo {
  for (const info of tree) {
    if (info.name === name) return info;
    const below = find(info.children, name);
    if (below.name === name) return below;
  }
  return { name: `no ${name}` } as TaskInfo;
}

// covers: asyncio/call-graph, seeds/C19, seeds/C26
describe('taskTree', () => {
  runTest('shows each task below the one that started it, in order', async () => {
    const tasks: Task[] = [];
    const parent = createTask({ name: 'parent' }, async () => {
      tasks.push(createTask({ name: 'b' }, () => sleepForever()));
      tasks.push(createTask({ name: 'a' }, () => sleepForever()));
      await sleepForever();
    });
    await checkpoint();
    await checkpoint();
    const [main, ...others] = taskTree();
    expect(others).toEqual([]);
    expect(main).toMatchObject({ name: 'main', state: 'running', waitsFor: null, group: null });
    const [shown] = main?.children ?? [];
    expect(shown).toMatchObject({ name: 'parent', id: parent.id, state: 'waiting' });
    expect(shown?.children.map(({ name }) => name)).toEqual(['b', 'a']);
    for (const task of [parent, ...tasks]) await task.cancelAndWait();
    expect(taskTree().map(({ children }) => children.length)).toEqual([0]);
  });

  runTest('shows the tasks of a group below the task whose group it is', async () => {
    await taskGroup(
      async (group) => {
        // Started by another task than the host's.
        const starter = createTask({ name: 'starter' }, () => {
          group.createTask({ name: 'member' }, () => sleepForever());
        });
        await starter;
        await checkpoint();
        const [main] = taskTree();
        expect(main?.children.map(({ name, group }) => [name, group])).toEqual([
          ['member', 'workers'],
        ]);
        group.cancel();
      },
      { name: 'workers' },
    );
  });

  runTest('says what tasks wait for, and for which task', async () => {
    const future = new Future();
    const all = new TaskGroup();
    const sleeper = all.createTask({ name: 'sleeper' }, () => sleepForever());
    all.createTask({ name: 'awaits' }, () => sleeper.then(() => {}));
    all.createTask({ name: 'joins' }, () => sleeper.join());
    all.createTask({ name: 'future' }, () => future.then(() => {}));
    all.createTask({ name: 'both' }, () => Promise.all([sleep(60_000), sleepForever()]));
    all.createTask({ name: 'scoped' }, () => moveOnAfter(60_000, () => sleepForever()));
    let endForeign: (value: unknown) => void = () => {};
    const foreign = new Promise((resolve) => {
      endForeign = resolve;
    });
    all.createTask({ name: 'foreign' }, () => foreign);
    await checkpoint();
    const waits = (name: string): string | null => find(taskTree(), name).waitsFor;
    expect(waits('sleeper')).toBe('sleepForever');
    expect(waits('awaits')).toBe('await sleeper');
    expect(waits('joins')).toBe('join sleeper');
    expect(waits('future')).toBe('await');
    expect(waits('both')).toBe('sleep, sleepForever');
    expect(waits('scoped')).toBe('sleepForever');
    expect(waits('foreign')).toBe(null);
    expect(find(taskTree(), 'foreign').state).toBe('running');
    all.createTask({ name: 'new' }, () => {});
    expect(find(taskTree(), 'new')).toMatchObject({ state: 'pending', waitsFor: null });
    future.setResult(1);
    endForeign(1);
    await all[Symbol.asyncDispose]();
  });

  runTest('is plain data that JSON can carry', async () => {
    const task = createTask({ name: 'one' }, () => sleepForever());
    await checkpoint();
    const tree = taskTree();
    expect(JSON.parse(JSON.stringify(tree))).toEqual(tree);
    await task.cancelAndWait();
  });

  test('knows ages and since when tasks wait while an instrument is on', async () => {
    const main = async (): Promise<void> => {
      const task = createTask({ name: 'old' }, async () => {
        await sleep(10);
        await sleep(100);
      });
      await sleep(35);
      expect(find(taskTree(), 'old')).toMatchObject({ ageMs: 35, waitingMs: 25 });
      await task.cancelAndWait();
    };
    await inRun(main, { policy: virtualPolicy(), instruments: [{}] });
    await inRun(main, { policy: virtualPolicy(), debug: true });
  });

  // A simulated run is observed, so there ages are noted.
  const unobserved = inMemory ? test.skip : test;
  unobserved('else counts ages from when it saw a task first', () => inRun(firstSeen));

  async function firstSeen(): Promise<void> {
    const task = createTask({ name: 'old' }, () => sleepForever());
    await sleep(10);
    expect(find(taskTree(), 'old')).toMatchObject({ ageMs: 0, waitingMs: null, stack: '' });
    await sleep(5);
    const { ageMs, waitingMs } = find(taskTree(), 'old');
    expect(ageMs).toBeGreaterThanOrEqual(5);
    expect(waitingMs).toBe(null);
    await task.cancelAndWait();
  }

  test('has creation stacks in debug mode', async () => {
    const main = async (): Promise<void> => {
      const task = createTask({ name: 'traced' }, () => sleepForever());
      await checkpoint();
      expect(find(taskTree(), 'traced').stack).toMatch(/^ {4}at .*tree\.test\.ts/);
      await task.cancelAndWait();
    };
    await inRun(main, { debug: true });
  });

  test('shows another loop from outside', async () => {
    const loop = testPolicy().createLoop();
    const task = loop.createTask(() => sleepForever(), { name: 'there' });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(taskTree(loop).map(({ name }) => name)).toEqual(['there']);
    expect(taskTree().map(({ name }) => name)).toEqual([]);
    task.cancel();
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(taskTree(loop)).toEqual([]);
    await loop.close();
  });
});

// covers: asyncio/call-graph, seeds/C26
describe('formatTaskTree', () => {
  test('draws tasks and groups, with what they wait for and since when', async () => {
    const main = async (): Promise<void> => {
      const idler = createTask({ name: 'idler' }, () => sleepForever());
      const text = taskGroup(
        async (group) => {
          group.createTask({ name: 'first' }, async () => {
            await taskGroup(
              async (inner) => void inner.createTask({ name: 'deep' }, () => sleep(1000)),
              { name: 'inner' },
            );
          });
          group.createTask({ name: 'last' }, () => sleep(1000));
          await sleep(20);
          return formatTaskTree();
        },
        { name: 'outer' },
      );
      expect(await text).toBe(
        [
          'main (#1) running',
          '├── idler (#2) waiting for sleepForever, 20 ms',
          '└── group outer',
          '    ├── first (#3) waiting for taskGroup, 20 ms',
          '    │   └── group inner',
          '    │       └── deep (#5) waiting for sleep, 20 ms',
          '    └── last (#4) waiting for sleep, 20 ms',
        ].join('\n'),
      );
      await idler.cancelAndWait();
    };
    await inRun(main, { policy: virtualPolicy(), instruments: [{}] });
  });

  runTest('draws a tree that it is given, also one from JSON', () => {
    const tree = JSON.parse(JSON.stringify(taskTree())) as readonly TaskInfo[];
    expect(formatTaskTree(tree)).toBe('main (#1) running');
    expect(formatTaskTree([])).toBe('');
  });

  runTest('does not overflow the stack on tasks that nest thousands deep', async () => {
    const depth = 3000;
    let leaf: () => void = () => {};
    const down = (left: number): Promise<void> =>
      left === 0
        ? new Promise((resolve) => {
            leaf = resolve;
          })
        : createTask({ eagerStart: left % 50 !== 0 }, () => down(left - 1)).join();
    const top = createTask(() => down(depth));
    while (getRunningLoop().metrics().tasks < depth) await checkpoint();
    await checkpoint();
    expect(formatTaskTree().split('\n').length).toBe(depth + 2);
    leaf();
    await top;
  });
});

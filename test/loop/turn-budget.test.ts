import { describe, expect, test } from 'vitest';
import { createTask, openConnection, run, sleep, startServer } from '../../lib/index.ts';
import { TurnBudget } from '../../lib/loop/turn-budget.ts';
import { testPolicy } from '../support/policy.ts';

/** Turns that follow one another until the backend must have one. */
function turnsOf(budget: TurnBudget, jobsEach = 1): number {
  let turns = 0;
  while (budget.left) {
    budget.addTurn();
    budget.addJobs(jobsEach);
    turns++;
  }
  budget.renew();
  return turns;
}

describe('the turns of a loop in one of Node', () => {
  test('are many while the network is quiet, fewer where each has many jobs', () => {
    const budget = new TurnBudget();
    expect(turnsOf(budget)).toBe(128);
    expect(turnsOf(budget)).toBe(128);
    expect(turnsOf(budget, 100)).toBe(3);
    expect(turnsOf(budget, 1000)).toBe(1);
  });

  test('are few behind an event of the network, and many again when none came for a while', () => {
    const budget = new TurnBudget();
    budget.ioCame();
    for (let i = 0; i < 128; i++) expect(turnsOf(budget)).toBe(16);
    expect(turnsOf(budget)).toBe(128);
    budget.ioCame();
    expect(turnsOf(budget, 60)).toBe(2);
  });

  test('leave a socket its share beside a task that never rests', async () => {
    const policy = testPolicy();
    const yields = await run(
      async () => {
        const server = await startServer(async (connection) => {
          for await (const chunk of connection) await connection.write(chunk);
        });
        let count = 0;
        const hog = createTask(async () => {
          for (;;) {
            await sleep(0);
            count++;
          }
        });
        await using connection = await openConnection({ host: '127.0.0.1', port: server.port });
        for (let i = 0; i < 20; i++) {
          await connection.write(Buffer.from('x'));
          await connection.readExactly(1);
        }
        hog.cancel();
        await server.close();
        return count;
      },
      { policy, handleSignals: false },
    );
    // A message is some turns of Node on its way; 16 yields fit into each, else 128.
    expect(yields / 20).toBeLessThan(64);
  });
});

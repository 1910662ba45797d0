/** E29: tasks that are awaited in turn run at the same time. */
import { createTask, run, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

async function taskExample(name: string, delayMs: number): Promise<void> {
  console.log(`Task ${name} starting.`);
  await sleep(delayMs);
  console.log(`Task ${name} completed.`);
}

// covers: seeds/E29
export async function main(second = 1000): Promise<void> {
  const task1 = createTask(taskExample, 'A', 2 * second);
  const task2 = createTask(taskExample, 'B', 1 * second);
  await task1;
  await task2;
}

if (startedAs(import.meta.url)) await run(main);

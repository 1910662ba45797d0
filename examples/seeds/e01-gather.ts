/** E1: two tasks, gathered. Results come in the order of input, after two seconds. */
import { createTask, gather, run, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

async function simulateNetworkCall(delayMs: number, message: string): Promise<string> {
  await sleep(delayMs);
  return `Received: ${message}`;
}

// covers: seeds/E1
export async function main(second = 1000): Promise<void> {
  const task1 = createTask(simulateNetworkCall, 2 * second, 'Hello');
  const task2 = createTask(simulateNetworkCall, 1 * second, 'World');
  const results = await gather(task1, task2);
  for (const result of results) console.log(result);
}

if (startedAs(import.meta.url)) await run(main);

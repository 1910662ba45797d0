/** E17: one after the other takes the sum of both, three seconds. */
import { currentTime, run, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

async function sayAfter(delayMs: number, what: string): Promise<void> {
  await sleep(delayMs);
  console.log(what);
}

// covers: seeds/E17
export async function main(second = 1000): Promise<void> {
  console.log('started at', currentTime());
  await sayAfter(1 * second, 'hello');
  await sayAfter(2 * second, 'world');
  console.log('finished at', currentTime());
}

if (startedAs(import.meta.url)) await run(main);

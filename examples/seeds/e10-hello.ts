/** E10, E16 and E26: hello, a second, world. */
import { run, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

// covers: seeds/E10, seeds/E16, seeds/E26
export async function main(second = 1000): Promise<void> {
  console.log('Hello');
  await sleep(second);
  console.log('World');
}

if (startedAs(import.meta.url)) await run(main);

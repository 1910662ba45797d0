/** E18: at the same time takes as long as the longer one, two seconds. */
import { currentTime, gather, run, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

async function valueAfter(delayMs: number, what: string): Promise<string> {
  await sleep(delayMs);
  return what;
}

// covers: seeds/E18
export async function main(second = 1000): Promise<void> {
  const start = currentTime();
  const results = await gather(valueAfter(1 * second, 'hello'), valueAfter(2 * second, 'world'));
  console.log(results);
  console.log(`Completed in ${((currentTime() - start) / second).toFixed(2)} seconds`);
}

if (startedAs(import.meta.url)) await run(main);

/** E27: two calls side by side; the second one starts later and ends first. */
import { gather, run, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

// covers: seeds/E27
export async function main(second = 1000): Promise<void> {
  const task = async (name: string, seconds: number): Promise<void> => {
    console.log(`Task ${name} starting`);
    await sleep(seconds * second);
    console.log(`Task ${name} completed`);
  };
  await gather(task('One', 2), task('Two', 1));
}

if (startedAs(import.meta.url)) await run(main);

/** E5: a nursery waits for its children, which start in the order of creation. */
import { openNursery, run, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

async function childTask(name: string, seconds: number, second: number): Promise<void> {
  console.log(`Child ${name} starting, will sleep for ${seconds} seconds`);
  await sleep(seconds * second);
  console.log(`Child ${name} finished`);
}

// covers: seeds/E5
export async function main(second = 1000): Promise<void> {
  await openNursery((nursery) => {
    nursery.startSoon(childTask, 'A', 2, second);
    nursery.startSoon(childTask, 'B', 1, second);
    nursery.startSoon(childTask, 'C', 3, second);
  });
}

if (startedAs(import.meta.url)) await run(main);

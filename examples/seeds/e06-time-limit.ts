/** E6: a time limit that gives undefined; and one for a whole group of tasks. */
import { moveOnAfter, openNursery, run, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

// covers: seeds/E6
export async function main(second = 1000): Promise<void> {
  const slowOperation = async (): Promise<string> => {
    await sleep(5 * second);
    return 'Done';
  };
  const result = await moveOnAfter(3 * second, slowOperation);
  console.log(result === undefined ? 'Operation timed out' : result);
}

// covers: seeds/C15
export async function group(second = 1000): Promise<void> {
  const child = async (name: string, seconds: number): Promise<void> => {
    console.log(`Child ${name} starting`);
    await sleep(seconds * second);
    console.log(`Child ${name} finished`);
  };
  await moveOnAfter(3 * second, () =>
    openNursery((nursery) => {
      nursery.startSoon(child, 'A', 2);
      nursery.startSoon(child, 'B', 9);
    }),
  );
  console.log('Moved on');
}

if (startedAs(import.meta.url)) await run(main);

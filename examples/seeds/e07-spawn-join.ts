/** E7: spawn gives the task at once, join waits for its end. */
import { run, sleep, spawn } from 'uvio';
import { startedAs } from './started-as.ts';

// covers: seeds/E7
export async function main(second = 1000): Promise<void> {
  const countdown = async (name: string, from: number): Promise<void> => {
    for (let n = from; n > 0; n--) {
      console.log(`${name}: ${n}`);
      await sleep(second);
    }
    console.log(`${name} done`);
  };
  const task1 = spawn(countdown, 'TaskA', 3);
  const task2 = spawn(countdown, 'TaskB', 2);
  await task1.join();
  await task2.join();
}

if (startedAs(import.meta.url)) await run(main);

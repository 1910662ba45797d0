/** X3: something every second, without drift, until it is cancelled. */
import { currentTime, every, moveOnAfter, run, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

// covers: seeds/X3
export async function main(second = 1000): Promise<void> {
  const start = currentTime();
  const action = async (tick: number): Promise<void> => {
    const seconds = Math.round((currentTime() - start) / second);
    console.log(`tick ${tick} after ${seconds} s`);
    // The third one takes too long: a tick is skipped, the grid stays.
    await sleep((tick === 2 ? 1.5 : 0.3) * second);
  };
  await moveOnAfter(5.5 * second, () => every(second, action, { missed: 'skip' }));
  console.log('stopped');
}

if (startedAs(import.meta.url)) await run(main);

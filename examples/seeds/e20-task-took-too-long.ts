/** E20: a time limit that throws. */
import { run, sleep, TimeoutError, waitFor } from 'uvio';
import { startedAs } from './started-as.ts';

// covers: seeds/E20
export async function main(second = 1000): Promise<void> {
  const longRunningTask = async (): Promise<string> => {
    await sleep(5 * second);
    return 'Completed!';
  };
  try {
    console.log(await waitFor(longRunningTask, 2 * second));
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error;
    console.log('Task took too long!');
  }
}

if (startedAs(import.meta.url)) await run(main);

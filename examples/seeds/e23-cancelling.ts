/** E23: a cancelled task hears of it at its wait, and passes it on. */
import { CancelledError, createTask, run, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

// covers: seeds/E23, seeds/C5
export async function main(second = 1000): Promise<void> {
  const longTask = async (): Promise<void> => {
    try {
      console.log('Long task started');
      await sleep(10 * second);
      console.log('Long task completed');
    } catch (error) {
      if (error instanceof CancelledError) console.log('Long task was cancelled!');
      throw error;
    }
  };
  const task = createTask(longTask);
  await sleep(2 * second);
  task.cancel();
  try {
    await task;
  } catch (error) {
    if (!(error instanceof CancelledError)) throw error;
    console.log('Main: task was cancelled');
  }
}

if (startedAs(import.meta.url)) await run(main);

/**
 * E22: a background worker, one line a second. The text it is from then waits for it for ever; here
 * it is cancelled, between two of its lines.
 */
import { createTask, run, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

// covers: seeds/E22
export async function main(second = 1000): Promise<void> {
  const background = createTask(async () => {
    for (;;) {
      console.log('Background worker running...');
      await sleep(second);
    }
  });
  await sleep(4.5 * second);
  console.log('Main logic completed');
  await background.cancelAndWait();
}

if (startedAs(import.meta.url)) await run(main);

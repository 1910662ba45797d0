/**
 * E25, a pitfall: a forgotten await. In JavaScript the function runs all the same; when its wait
 * outlives the task that began it, debug mode tells.
 */
import { createTask, getRunningLoop, run, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

// covers: seeds/E25, seeds/C46
export async function main(second = 1000): Promise<void> {
  const fetchText = async (): Promise<string> => {
    await sleep(second);
    console.log('fetched');
    return 'Data';
  };
  getRunningLoop().setExceptionHandler((_loop, { message }) => {
    console.log(`Reported: ${message.split('\n')[0]}`);
  });
  await createTask({ name: 'careless' }, async () => {
    void fetchText();
  });
  console.log(await fetchText());
}

if (startedAs(import.meta.url)) await run(main, { debug: true });

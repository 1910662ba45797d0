/**
 * E19: a task and other work. A task starts after the current step, as in CPython; the text it is
 * from prints 'Start fetching data' first, which is what `eagerStart` does.
 */
import { createTask, run, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

// covers: seeds/E19
export async function main(second = 1000, eagerStart = false): Promise<void> {
  const fetchData = async (): Promise<{ data: string }> => {
    console.log('Start fetching data');
    await sleep(2 * second);
    console.log('Data fetched');
    return { data: 'important stuff' };
  };
  console.log('Creating task');
  const task = createTask({ eagerStart }, fetchData);
  console.log('Doing other work');
  await sleep(second);
  console.log('Still working...');
  const result = await task;
  console.log('Got result:', result);
}

if (startedAs(import.meta.url)) await run(main);

/** E28: fetching takes three seconds, processing two: three in all. */
import { gather, run, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

// covers: seeds/E28
export async function main(second = 1000): Promise<void> {
  const fetchData = async (): Promise<void> => {
    console.log('Fetching data...');
    await sleep(3 * second);
    console.log('Data fetched!');
  };
  const processData = async (): Promise<void> => {
    console.log('Processing data...');
    await sleep(2 * second);
    console.log('Data processed!');
  };
  await gather(fetchData, processData);
}

if (startedAs(import.meta.url)) await run(main);

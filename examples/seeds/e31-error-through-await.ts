/** E31: an error comes through await to the catch of whoever waits. */
import { run } from 'uvio';
import { startedAs } from './started-as.ts';

async function mayFail(): Promise<void> {
  throw new RangeError('Something went wrong!');
}

// covers: seeds/E31
export async function main(): Promise<void> {
  try {
    await mayFail();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    console.log(`Caught an error: ${error.message}`);
  }
}

if (startedAs(import.meta.url)) await run(main);

/** E9: the native loop, by policy. Nothing else of the program changes. */
import { native, run, setLoopPolicy, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

async function exampleTask(second: number): Promise<void> {
  await sleep(second);
  console.log('Task completed');
}

// covers: seeds/E9, asyncio/policies
export async function start(second = 1000): Promise<void> {
  setLoopPolicy(native());
  await run(() => exampleTask(second));
}

if (startedAs(import.meta.url)) await start();

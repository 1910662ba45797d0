/** E24, a pitfall: a blocking call. The loop stands still; debug mode names the task. */
import { getRunningLoop, run, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

// covers: seeds/E24, seeds/C52
export async function main(second = 1000): Promise<void> {
  const loop = getRunningLoop();
  loop.slowCallbackMs = second / 2;
  loop.setExceptionHandler((_loop, report) => console.log('Reported:', report.callback));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, second);
  await sleep(second);
}

if (startedAs(import.meta.url)) await run(main, { debug: true });

/** E30: a future that is set by hand. */
import { Future, getRunningLoop, run } from 'uvio';
import { startedAs } from './started-as.ts';

// covers: seeds/E30, seeds/C49
export async function main(second = 1000): Promise<void> {
  const future = new Future<number>();
  getRunningLoop().callLater(second, () => future.setResult(42));
  console.log(await future);
}

if (startedAs(import.meta.url)) await run(main);

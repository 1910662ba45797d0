/** X5: errors as values, with retries. The network is a stand-in that fails as told. */
import { gather, retry, run, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

// covers: seeds/X5
export async function main(second = 1000): Promise<void> {
  const calls = new Map<string, number>();
  const get = async (url: string, failures: number): Promise<string> => {
    const call = (calls.get(url) ?? 0) + 1;
    calls.set(url, call);
    await sleep(0.1 * second);
    if (call <= failures) throw new Error(`${url} does not answer`);
    return `body of ${url}`;
  };
  const sites = { good: 0, flaky: 2, dead: 99 };
  const results = await gather(
    Object.entries(sites).map(
      ([url, failures]) =>
        () =>
          retry(() => get(url, failures), { attempts: 3, delayMs: 0.2 * second }),
    ),
    { returnExceptions: true },
  );
  for (const result of results) {
    console.log(result instanceof Error ? `error: ${result.message}` : result);
  }
  console.log('calls:', Object.fromEntries(calls));
}

if (startedAs(import.meta.url)) await run(main);

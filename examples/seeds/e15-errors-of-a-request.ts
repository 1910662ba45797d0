/** E15: what can go wrong with a request, each caught by its class. */
import { isCancelled, run, TimeoutError } from 'uvio';
import { ClientError, ClientSession } from 'uvio/http';
import { startedAs } from './started-as.ts';

// covers: seeds/E15, seeds/C34
export async function fetchOrNull(
  session: ClientSession,
  url: string,
  timeoutMs = 10_000,
): Promise<string | null> {
  try {
    return await session.get(url, { timeoutMs, raiseForStatus: true }).text();
  } catch (error) {
    if (error instanceof TimeoutError) console.log(`Timed out: ${url}`);
    else if (error instanceof ClientError) console.log(`Client error: ${error.message}`);
    else if (isCancelled(error)) throw error;
    else console.log(`Unexpected: ${String(error)}`);
    return null;
  }
}

export async function main(urls: readonly string[]): Promise<void> {
  await using session = new ClientSession();
  for (const url of urls) console.log(await fetchOrNull(session, url));
}

if (startedAs(import.meta.url)) await run(() => main(process.argv.slice(2)));

/** E2: three URLs at the same time, over one session. */
import { gather, run } from 'uvio';
import { ClientSession } from 'uvio/http';
import { startedAs } from './started-as.ts';

async function fetchUrl(session: ClientSession, url: string): Promise<string> {
  return await session.get(url).text();
}

// covers: seeds/E2, seeds/E13
export async function main(urls: readonly string[]): Promise<string[]> {
  await using session = new ClientSession();
  const bodies = await gather(...urls.map((url) => () => fetchUrl(session, url)));
  for (const body of bodies) console.log(`Fetched ${body.length} characters`);
  return bodies;
}

if (startedAs(import.meta.url)) await run(() => main(process.argv.slice(2)));

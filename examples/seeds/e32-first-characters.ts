/** E32: the first 100 characters of three URLs, in order. */
import { gather, run } from 'uvio';
import { ClientSession } from 'uvio/http';
import { startedAs } from './started-as.ts';

// covers: seeds/E32
export async function main(urls: readonly string[]): Promise<void> {
  await using session = new ClientSession();
  const bodies = await gather(...urls.map((url) => () => session.get(url).text()));
  for (const body of bodies) console.log(body.slice(0, 100));
}

if (startedAs(import.meta.url)) await run(() => main(process.argv.slice(2)));

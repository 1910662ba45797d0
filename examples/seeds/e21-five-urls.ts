/** E21: five URLs at the same time: their sizes, in order, and the time of all. */
import { gather, getRunningLoop, run } from 'uvio';
import { ClientSession } from 'uvio/http';
import { startedAs } from './started-as.ts';

// covers: seeds/E21
export async function main(urls: readonly string[]): Promise<void> {
  const loop = getRunningLoop();
  const startMs = loop.time();
  await using session = new ClientSession();
  const bodies = await gather(...urls.map((url) => () => session.get(url).text()));
  for (const [i, body] of bodies.entries()) console.log(`${urls[i]}: ${body.length} characters`);
  console.log(`Took ${((loop.time() - startMs) / 1000).toFixed(1)} seconds`);
}

if (startedAs(import.meta.url)) await run(() => main(process.argv.slice(2)));

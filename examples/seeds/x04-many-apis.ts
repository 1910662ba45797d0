/** X4: what many APIs say, in one object. */
import { gather, run } from 'uvio';
import { ClientSession } from 'uvio/http';
import { startedAs } from './started-as.ts';

// covers: seeds/X4
export async function main(urls: readonly string[]): Promise<object> {
  await using session = new ClientSession({ timeoutMs: 10_000 });
  const answers = await gather(urls.map((url) => () => session.get(url).json<object>()));
  const merged = Object.assign({}, ...answers);
  console.log(JSON.stringify(merged));
  return merged;
}

if (startedAs(import.meta.url)) await run(() => main(process.argv.slice(2)));

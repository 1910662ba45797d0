/** X2: the titles of many pages, a few at a time, and fewer still of one host. */
import { map, run } from 'uvio';
import { ClientSession } from 'uvio/http';
import { startedAs } from './started-as.ts';

// covers: seeds/X2, seeds/C40
export async function main(urls: readonly string[]): Promise<string[]> {
  await using session = new ClientSession({ connector: { limitPerHost: 5 } });
  const titleOf = async (url: string): Promise<string> => {
    const page = await session.get(url, { raiseForStatus: true }).text();
    return /<title>([^<]*)/i.exec(page)?.[1] ?? '(no title)';
  };
  const titles: string[] = [];
  for await (const title of map(urls, titleOf, { limit: 20 })) {
    console.log(title);
    titles.push(title);
  }
  return titles;
}

if (startedAs(import.meta.url)) await run(() => main(process.argv.slice(2)));

/** E13: run() gives what main returns. The pages come from a stand-in for a session here. */
import { gather, run, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

const urls = ['https://a.example/', 'https://b.example/'];

// covers: seeds/E13
export async function main(second = 1000): Promise<string[]> {
  const fetchUrl = async (url: string): Promise<string> => {
    await sleep(second);
    return `<p>${url}</p>`;
  };
  return await gather(urls.map((url) => fetchUrl(url)));
}

if (startedAs(import.meta.url)) console.log(await run(main));

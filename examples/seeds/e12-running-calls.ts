/** E12: three calls that run already are gathered in order; two seconds. */
import { gather, run, sleep } from 'uvio';
import { startedAs } from './started-as.ts';

// covers: seeds/E12
export async function main(second = 1000): Promise<void> {
  const fetchData = async (url: string): Promise<string> => {
    await sleep(2 * second);
    return `Data from ${url}`;
  };
  const results = await gather(
    fetchData('api.example.com/users'),
    fetchData('api.example.com/posts'),
    fetchData('api.example.com/comments'),
  );
  console.log(results);
}

if (startedAs(import.meta.url)) await run(main);

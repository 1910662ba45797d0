/** E11: the smallest server, on the default port 8080. */
import { Application, type Handler, Response, runApp } from 'uvio/http';
import { startedAs } from './started-as.ts';

const handle: Handler = async () => new Response('Hello, async world');

export function makeApp(): Application {
  return new Application().get('/', handle as Handler<'/'>);
}

// covers: seeds/E11
export async function main(): Promise<void> {
  await runApp(makeApp());
}

if (startedAs(import.meta.url)) await main();

/** E3: a server with a default for a parameter of its path. */
import { Application, type Handler, Response, runApp } from 'uvio/http';
import { startedAs } from './started-as.ts';

const handleRequest: Handler = (request) => {
  const name = request.params['name'] ?? 'Anonymous';
  return new Response(`Hello, ${name}`);
};

export function makeApp(): Application {
  const app = new Application();
  app.get('/', handleRequest);
  app.get('/:name', handleRequest as Handler<'/:name'>);
  return app;
}

// covers: seeds/E3
export async function main(port = 8080): Promise<void> {
  await runApp(makeApp(), { host: '127.0.0.1', port });
}

if (startedAs(import.meta.url)) await main();

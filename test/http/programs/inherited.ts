/** A program for server.test.ts: serves one request on descriptor 3, which it was started with. */
import { Application, Response, serve } from '../../../lib/http/index.ts';
import { native, pure, setLoopPolicy } from '../../../lib/loop/policy.ts';
import { Event } from '../../../lib/sync/event.ts';
import { run } from '../../../lib/task/run.ts';

setLoopPolicy(process.argv[2] === 'native' ? native({ required: true }) : pure());

await run(async () => {
  const asked = new Event();
  const app = new Application().get('/', (): Response => {
    asked.set();
    return new Response(server.url);
  });
  await using server = await serve(app, { fd: 3 });
  await asked.wait();
});

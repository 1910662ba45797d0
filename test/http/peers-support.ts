/** Programs of others that speak HTTP with ours, and an application for them to speak with. */
import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import { Application, eventStream, fileResponse, Response } from '../../lib/http/index.ts';
import { sleep } from '../../lib/index.ts';
import { foreignEnv } from '../support/foreign.ts';

const execute = promisify(execFile);

/** Whether the program is there, and says what is wanted. */
export function works(program: string, args: readonly string[], wanted: RegExp): boolean {
  const { stdout } = spawnSync(program, args, { encoding: 'utf8', env: foreignEnv() });
  return wanted.test(stdout ?? '');
}

/** What it prints; an error when it fails. */
export async function output(program: string, args: readonly string[]): Promise<string> {
  const options = { maxBuffer: 10_000_000, env: foreignEnv() };
  return (await execute(program, args, options)).stdout;
}

export const large: string = 'abcdefgh'.repeat(100_000);

/** Of each kind of answer one. @param file of ten digits */
export function makePeersApp(file: string): Application {
  return (
    new Application({ maxBodyBytes: 10_000_000 })
      .get('/', (asked) => new Response(`version ${asked.httpVersion}`))
      .get('/large', () => new Response(large))
      .get('/packed', () => new Response(large, { compress: true }))
      .get('/parts', () => new Response(['a', 'b', 'c']))
      .get('/file', () => fileResponse(file))
      .get('/moved', () => Response.redirect('/'))
      .get('/ip', ({ ip, url }) => Response.json({ ip, url }))
      .get('/never', async () => {
        await sleep(60_000);
        return new Response();
      })
      .get('/events', () =>
        eventStream(async (sink) => {
          for (let i = 1; i <= 3; i++) await sink.send({ id: String(i), data: `event ${i}` });
        }),
      )
      .get('/cookies', (asked) =>
        new Response(asked.cookies.get('seen') ?? 'none').setCookie('seen', 'yes', { path: '/' }),
      )
      .post('/echo', async (asked) => new Response(await asked.text()))
      // Both ways at once.
      .post('/through', (asked) => new Response(asked.body))
      .post('/early', () => new Response('no', { status: 403 }))
      .post('/form', async (asked) => {
        const entries = [...(await asked.formData())].map(async ([name, value]) =>
          typeof value === 'string' ? [name, value] : [name, value.name, await value.text()],
        );
        return Response.json(await Promise.all(entries));
      })
      .ws(
        '/socket',
        async (socket) => {
          for await (const message of socket) await socket.send(message);
        },
        { compress: true },
      )
  );
}

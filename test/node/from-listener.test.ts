/** Listeners of node:http under our servers: what ends a request before its response does. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, expect } from 'vitest';
import { Application, type HttpServer, serve } from '../../lib/http/index.ts';
import {
  type Connection,
  getRunningLoop,
  openConnection,
  sleep,
  timeout,
} from '../../lib/index.ts';
import { fromRequestListener } from '../../lib/node/index.ts';
import { readToEnd, statusesOf } from '../http/support.ts';
import { runTest } from '../task/support.ts';

type Listener = (request: IncomingMessage, response: ServerResponse) => unknown;

interface Place {
  readonly server: HttpServer;
  /** What its requests and responses emitted. */
  readonly log: string[];
  /** What was reported. */
  readonly reports: string[];
  ask(path: string): Promise<Connection>;
}

async function withListener(listener: Listener, test: (place: Place) => unknown): Promise<void> {
  const log: string[] = [];
  const reports: string[] = [];
  getRunningLoop().setExceptionHandler((_loop, { error }) => reports.push(String(error)));
  const handler = fromRequestListener((request, response) => {
    request.on('aborted', () => log.push('aborted'));
    response.on('close', () => log.push(`close ${response.writableFinished}`));
    return listener(request, response) as never;
  });
  const app = new Application().route('*', '/*', handler as never);
  await using server = await serve(app, { host: '127.0.0.1', port: 0, shutdownTimeoutMs: 50 });
  const ask = async (path: string): Promise<Connection> => {
    const connection = await openConnection({ host: '127.0.0.1', port: server.port });
    await connection.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    return connection;
  };
  await test({ server, log, reports, ask });
}

async function until(check: () => boolean): Promise<void> {
  await timeout(5_000, async () => {
    while (!check()) await sleep(1);
  });
}

/** Answers nothing, or begins an answer that goes on. */
const endless: Listener = (request, response) => {
  if (request.url === '/events') response.write('data: 1\n\n');
};

describe('a listener of node:http', () => {
  for (const path of ['/silent', '/events']) {
    runTest(`is told when its client leaves, ${path}`, () =>
      withListener(endless, async ({ server, log, reports, ask }) => {
        const connection = await ask(path);
        if (path === '/events') await connection.readUntil('data: 1');
        else await until(() => server.requests === 1);
        await connection.close();
        await until(() => server.requests === 0);
        await until(() => log.length === 2);
        expect([log, reports]).toEqual([['aborted', 'close false'], []]);
      }),
    );

    runTest(`is told when the server ends, ${path}`, () =>
      withListener(endless, async ({ server, log, reports, ask }) => {
        await using connection = await ask(path);
        if (path === '/events') await connection.readUntil('data: 1');
        else await until(() => server.requests === 1);
        await server.close();
        await until(() => log.length === 2);
        expect([log, reports]).toEqual([['aborted', 'close false'], []]);
      }),
    );
  }

  runTest('that fails behind the head of its response breaks it, and is reported', () =>
    withListener(
      async (_request, response) => {
        response.write('x');
        await new Promise((resolve) => setTimeout(resolve, 20));
        throw new Error('late');
      },
      async ({ server, reports, ask }) => {
        await using connection = await ask('/');
        const answer = await readToEnd(connection);
        expect(statusesOf(answer)).toEqual([200]);
        expect(answer).not.toContain('0\r\n\r\n');
        await until(() => server.requests === 0);
        expect(reports).toEqual(['Error: late']);
      },
    ),
  );

  runTest('that cuts its connection off cuts that of the client, and nothing is reported', () =>
    withListener(
      (request, response) => {
        if (request.url === '/later') {
          response.write('x');
          setTimeout(() => response.destroy(), 5);
        } else request.socket.destroy();
      },
      async ({ server, reports, ask }) => {
        for (const path of ['/', '/later']) {
          await using connection = await ask(path);
          expect(statusesOf(await readToEnd(connection))).toEqual(path === '/' ? [] : [200]);
        }
        await until(() => server.requests === 0);
        expect(reports).toEqual([]);
      },
    ),
  );

  runTest('answers HEAD, and its connection goes on', () =>
    withListener(
      (_request, response) => response.writeHead(200, { 'content-length': '5' }).end('hello'),
      async ({ server, log, ask }) => {
        await using connection = await ask('/');
        expect(String(await connection.readUntil('hello'))).toMatch(/^HTTP\/1.1 200 /);
        await connection.write('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n');
        expect(String(await connection.readUntil('\r\n\r\n'))).toMatch(/content-length: 5/i);
        await until(() => server.requests === 0 && log.length === 2);
        expect(log).toEqual(['close true', 'close true']);
      },
    ),
  );
});

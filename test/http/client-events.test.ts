/** Server-sent events that come for longer than requests take. */
import { describe, expect } from 'vitest';
import { ClientTimeoutError, type RequestOptions } from '../../lib/http/index.ts';
import { getRunningLoop, sleep } from '../../lib/index.ts';
import { failure, runTest, virtualTest } from '../task/support.ts';
import { withRaw, withSession } from './client-support.ts';

const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n';

/** Events with pauses, then silence. */
async function withEvents(
  times: number,
  pauseMs: number,
  test: (url: string) => unknown,
): Promise<void> {
  await withRaw(
    async (request, connection) => {
      if (request.includes(' /silent ')) return await sleep(1_000_000);
      await connection.write(head);
      for (let i = 0; i < times; i++) {
        await connection.write(`data: ${i}\n\n`);
        await sleep(pauseMs);
      }
      return null;
    },
    (url) => test(url),
  );
}

const givenLimits: Record<string, RequestOptions> = {
  timeoutMs: { timeoutMs: 30 },
  'timeout.totalMs': { timeout: { totalMs: 30 } },
  readMs: { timeout: { readMs: 30 } },
};

describe('a stream of events', () => {
  // Twice, as the second request has the plan of the first.
  virtualTest('is not cut by the default limit of a request', () =>
    withEvents(10, 100_000, (url) =>
      withSession({}, async (session) => {
        for (let i = 0; i < 2; i++) {
          const startMs = getRunningLoop().time();
          const events: string[] = [];
          for await (const { data } of (await session.get(url)).events()) events.push(data);
          expect(events.join('')).toBe('0123456789');
          expect(getRunningLoop().time() - startMs).toBeGreaterThanOrEqual(1_000_000);
        }
        expect(session.connector.stats().open).toBe(0);
      }),
    ),
  );

  virtualTest('has the default limit while nobody reads its events, and before its head', () =>
    withEvents(10, 100_000, (url) =>
      withSession({}, async (session) => {
        const events = (await session.get(url)).events();
        const startMs = getRunningLoop().time();
        expect(await failure(session.get(`${url}/silent`))).toMatchObject({ phase: 'total' });
        expect(Math.round((getRunningLoop().time() - startMs) / 1_000)).toBe(300);
        expect(session.connector.stats().open).toBe(0);
        const reading = async (): Promise<void> => {
          for await (const _event of events) await sleep(0);
        };
        expect(await failure(reading)).toBeInstanceOf(ClientTimeoutError);
      }),
    ),
  );

  virtualTest('is cut by the limit of its session', () =>
    withEvents(10, 1_000, (url) =>
      withSession({ timeoutMs: 5_500 }, async (session) => {
        let count = 0;
        const reading = async (): Promise<void> => {
          for await (const _event of (await session.get(url)).events()) count++;
        };
        expect(await failure(reading)).toMatchObject({ phase: 'total' });
        expect(count).toBe(6);
      }),
    ),
  );

  for (const [name, options] of Object.entries(givenLimits)) {
    runTest(`is cut by ${name} of its request`, () =>
      withEvents(1, 60_000, (url) =>
        withSession({}, async (session) => {
          const reading = async (): Promise<void> => {
            for await (const _event of (await session.get(url, options)).events()) await sleep(0);
          };
          expect(await failure(reading)).toBeInstanceOf(ClientTimeoutError);
          expect(session.connector.stats().open).toBe(0);
        }),
      ),
    );
  }
});

/** Servers, or somebody on the way, that cheat when they are asked for TLS. */
import { describe, expect, test } from 'vitest';
import { connect } from '../../lib/postgres/connection.ts';
import { inRun } from '../task/support.ts';
import { evilTest, options, outcome } from './evil.ts';
import { errorMessage, type Script, started, withFake } from './fake.ts';

describe('a server asked for TLS', () => {
  const answers = (answer: string | Uint8Array): Script => {
    return async (client) => {
      const { code } = await client.startup();
      if (code === 80_877_103) {
        await client.send(answer);
        if (answer === 'N') {
          await client.startup();
          await client.send(started);
        }
      } else await client.send(started);
      await client.ended();
    };
  };

  evilTest("that has none is used in the clear with 'prefer'", answers('N'), async (port) => {
    const connection = await connect({ ...options, port, tls: 'prefer' });
    await connection.close();
  });

  const modes = ['require', 'verify-ca', 'verify-full'] as const;
  test.each(modes)('that says it has none, or somebody on the way, is an error with %s', (tls) =>
    inRun(() =>
      withFake(answers('N'), async (port) => {
        const error = await outcome(() => connect({ ...options, port, tls }));
        expect(error.message).toMatch(/has no TLS/);
      }),
    ),
  );

  const stripped: [string, string | Uint8Array, RegExp][] = [
    ['answers with an error', errorMessage('FATAL', '08P01', 'what?'), /more than its answer/],
    ['answers with another byte', 'X', /did not understand/],
    ['sends more before TLS begins', `S${started.toString('latin1')}`, /more than its answer/],
    ['sends no TLS after its answer', 'S', /./],
  ];
  for (const [title, answer, message] of stripped) {
    evilTest(`that ${title} is refused`, answers(answer), async (port) => {
      const error = await outcome(() =>
        connect({ ...options, port, tls: 'prefer', timeoutMs: 300 }),
      );
      expect(error.message).toMatch(message);
      expect(error.message).not.toMatch(/succeeded/);
    });
  }

  evilTest(
    'that closes is an error',
    async (client) => {
      await client.startup();
    },
    async (port) => {
      const error = await outcome(() => connect({ ...options, port, tls: 'prefer' }));
      expect(error.message).toMatch(/closed the connection when asked for TLS/);
    },
  );
});

/** Test runners load a package once for each file, in one thread: jest, vitest if not isolated. */
import { expect, test, vi } from 'vitest';
import * as first from '../../lib/index.ts';
import { clientTls, serverTls } from '../io/tls-support.ts';
import { policyName } from '../support/policy.ts';

type Uvio = typeof first;

/** Two of them at the same time, each with a server and a client of its own. */
async function echoes(uvio: Uvio, word: string, tls: boolean): Promise<string> {
  const policy = policyName === 'native' ? uvio.native({ required: true }) : uvio.pure();
  return await uvio.run(
    async () => {
      const listen = { port: 0, host: '127.0.0.1', ...(tls ? { tls: serverTls } : {}) };
      await using server = await uvio.startServer(async (stream) => {
        for await (const part of stream) await stream.write(part);
      }, listen);
      const { port } = server.addresses[0] as { port: number };
      const more = tls ? { tls: clientTls } : {};
      await using stream = await uvio.openConnection({ host: '127.0.0.1', port, ...more });
      let heard = '';
      for (let i = 0; i < 20; i++) {
        await stream.write(word);
        heard += await stream.readExactly(word.length);
        await uvio.sleep(1);
      }
      return heard;
    },
    { policy, handleSignals: false },
  );
}

test.runIf(policyName !== 'simulated').each([false, true])(
  'three copies of uvio in a thread do not disturb each other (TLS: %s)',
  async (tls) => {
    const copies: Uvio[] = [first];
    while (copies.length < 3) {
      vi.resetModules();
      copies.push(await import('../../lib/index.ts'));
    }
    expect(new Set(copies.map(({ sleep }) => sleep)).size).toBe(3);
    const heard = await Promise.all(copies.map((uvio, i) => echoes(uvio, `copy${i}`, tls)));
    expect(heard).toEqual(['copy0'.repeat(20), 'copy1'.repeat(20), 'copy2'.repeat(20)]);
  },
);

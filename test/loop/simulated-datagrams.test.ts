/** Datagrams on the simulated network: lost, doubled and overtaken as the seed says. */
import { describe, expect, test } from 'vitest';
import type { UdpSocket } from '../../lib/io/net-types.ts';
import { openUdpSocket } from '../../lib/io/udp-socket.ts';
import { Runner } from '../../lib/task/run.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { currentTime, sleep } from '../../lib/task/sleep.ts';
import { type SimulationOptions, simulated } from '../../lib/testing/simulated.ts';
import { errorOf, localhost } from '../io/support.ts';

async function simulate<T>(options: SimulationOptions, main: () => Promise<T>): Promise<T> {
  const runner = new Runner({ policy: simulated(options), handleSignals: false });
  try {
    return await runner.run(main);
  } finally {
    await runner.close();
  }
}

/** What arrives of 200 numbers. */
function arrivals(options: SimulationOptions): Promise<number[]> {
  return simulate(options, async () => {
    await using server = await openUdpSocket({ localHost: localhost, maxQueued: Infinity });
    const { port } = server.localAddress;
    await using client = await openUdpSocket({ remoteHost: localhost, remotePort: port });
    for (let i = 0; i < 200; i++) await client.send(`${i}`);
    await sleep(1000);
    return await drain(server);
  });
}

async function drain(socket: UdpSocket): Promise<number[]> {
  const got: number[] = [];
  await moveOnAfter(1, async () => {
    for await (const { data } of socket) got.push(Number(data));
  });
  return got;
}

const inOrder = Array.from({ length: 200 }, (_, i) => i);

describe('datagrams of a simulation', () => {
  test('without faults all arrive, in order, after their latency', async () => {
    expect(await arrivals({})).toEqual(inOrder);
    expect(await arrivals({ latencyMs: 30 })).toEqual(inOrder);
    const atMs = await simulate({ latencyMs: 30 }, async () => {
      await using socket = await openUdpSocket({ localHost: localhost });
      const beganMs = currentTime();
      await socket.send('x', { host: localhost, port: socket.localAddress.port });
      await socket.receive();
      return currentTime() - beganMs;
    });
    expect(atMs).toBe(30);
  });

  test('some are lost, the same with the same seed', async () => {
    const options = { seed: 3, lossRate: 0.25 };
    const got = await arrivals(options);
    expect(got.length).toBeGreaterThan(120);
    expect(got.length).toBeLessThan(180);
    expect(new Set(got).size).toBe(got.length);
    expect(await arrivals(options)).toEqual(got);
    expect(await arrivals({ ...options, seed: 4 })).not.toEqual(got);
    expect(await arrivals({ lossRate: 1 })).toEqual([]);
  });

  test('some arrive twice', async () => {
    const got = await arrivals({ seed: 3, duplicateRate: 0.25 });
    expect(new Set(got).size).toBe(200);
    expect(got.length).toBeGreaterThan(220);
    expect(got.length).toBeLessThan(280);
  });

  test('with a latency that varies they overtake one another', async () => {
    const got = await arrivals({ seed: 3, latencyMs: [1, 20] });
    expect(got).not.toEqual(inOrder);
    expect([...got].sort((a, b) => a - b)).toEqual(inOrder);
  });

  test('rates out of range are refused', () => {
    expect(() => simulated({ lossRate: 1.5 })).toThrow(RangeError);
    expect(() => simulated({ duplicateRate: 'x' as never })).toThrow(TypeError);
  });

  test('sockets reach the addresses of hosts, and nothing else', async () => {
    await simulate({ hosts: { 'db.test': '10.0.0.7' } }, async () => {
      await using server = await openUdpSocket({ localHost: 'db.test', localPort: 53 });
      await using client = await openUdpSocket({ localHost: localhost });
      await client.send('query', { host: 'db.test', port: 53 });
      expect((await server.receive()).address).toEqual(client.localAddress);
      expect((await errorOf(openUdpSocket({ localHost: '10.0.0.8' }))).code).toBe('EADDRNOTAVAIL');
    });
  });
});

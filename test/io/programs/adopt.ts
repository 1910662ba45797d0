/**
 * A program for adopt.test.ts: its descriptors from 3 on are what the test has passed. It prints
 * one line of JSON for each case.
 */
import { fstatSync } from 'node:fs';
import { systemdSockets } from '../../../lib/io/activation.ts';
import '../../../lib/io/fd-methods.ts';
import '../../../lib/io/loop-methods.ts';
import type { Protocol, Transport } from '../../../lib/io/protocols.ts';
import { startServer } from '../../../lib/io/start-server.ts';
import { native, pure, setLoopPolicy } from '../../../lib/loop/policy.ts';
import { getRunningLoop, run } from '../../../lib/task/run.ts';
import { sleep } from '../../../lib/task/sleep.ts';

const [policy = 'pure', ...names] = process.argv.slice(2);
const fdOf = (name: string): number => 3 + names.indexOf(name);

function print(name: string, value: unknown): void {
  console.log(JSON.stringify([name, value]));
}

function inodeOf(fd: number): number {
  try {
    return fstatSync(fd).ino;
  } catch {
    return 0;
  }
}

const inodes = names.map((_, index) => inodeOf(3 + index));

/** The number may have been used again meanwhile. */
function isOpen(fd: number): boolean {
  return inodeOf(fd) === inodes[fd - 3];
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'none';
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

class Echo implements Protocol {
  transport: Transport | undefined;
  lost = false;

  connectionMade(transport: Transport): void {
    this.transport = transport;
  }

  dataReceived(data: Buffer): void {
    this.transport?.write(`echo ${data}`);
  }

  connectionLost(): void {
    this.lost = true;
  }
}

/** Echoes until the peer ends. */
async function adopt(name: string): Promise<void> {
  const fd = fdOf(name);
  const [transport, echo] = await getRunningLoop().connectAcceptedSocket(() => new Echo(), fd);
  const family = transport.remoteAddress?.family;
  while (!echo.lost) await sleep(1);
  print(`adopt ${name}`, { family, open: isOpen(fd) });
}

/** Serves one connection. */
async function serve(name: string): Promise<void> {
  const fd = fdOf(name);
  let served = 0;
  const server = await startServer(
    async (connection) => {
      await connection.write('served');
      served += 1;
    },
    { fd },
  );
  const [address] = server.addresses;
  print(`listening ${name}`, address);
  while (served === 0) await sleep(1);
  await server[Symbol.asyncDispose]();
  print(`serve ${name}`, { open: isOpen(fd) });
}

async function main(): Promise<void> {
  const loop = getRunningLoop();
  process.env['LISTEN_PID'] = String(process.pid);
  process.env['LISTEN_FDS'] = '2';
  process.env['LISTEN_FDNAMES'] = 'web:local';
  print('systemd', [systemdSockets(), systemdSockets()]);
  for (const name of ['tcp', 'unix', 'udp', 'file', 'pipe']) {
    const fd = fdOf(name);
    const accepted = await codeOf(loop.connectAcceptedSocket(() => new Echo(), fd));
    print(`refuse ${name}`, { accepted, open: isOpen(fd) });
  }
  for (const name of ['tcpPeer', 'unixPeer', 'udp', 'file', 'pipe']) {
    const fd = fdOf(name);
    print(`listen ${name}`, {
      code: await codeOf(startServer(() => {}, { fd })),
      open: isOpen(fd),
    });
  }
  print('closed', await codeOf(startServer(() => {}, { fd: 900 })));
  print('adopt closed', await codeOf(loop.connectAcceptedSocket(() => new Echo(), 900)));
  await Promise.all([adopt('tcpPeer'), adopt('unixPeer'), serve('tcp'), serve('unix')]);
}

setLoopPolicy(policy === 'native' ? native({ required: true }) : pure());
await run(main);

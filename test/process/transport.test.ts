import { describe, expect } from 'vitest';
import type { ReadTransport, WriteTransport } from '../../lib/io/protocols.ts';
import type { ExceptionContext } from '../../lib/loop/event-loop.ts';
import { openChildren } from '../../lib/process/child.ts';
import '../../lib/process/loop-methods.ts';
import type { SubprocessProtocol, SubprocessTransport } from '../../lib/process/protocols.ts';
import { ContextVar } from '../../lib/task/context.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { CancelScope } from '../../lib/task/scope.ts';
import { currentTask } from '../../lib/task/task.ts';
import { failure } from '../task/support.ts';
import { exists, processTest, stubborn, turn, until } from './support.ts';

const pipes = { stdin: 'pipe', stdout: 'pipe', stderr: 'pipe' } as const;

/** Writes down what happens. */
class Recorder implements SubprocessProtocol {
  readonly log: string[] = [];
  transport: SubprocessTransport | undefined;
  output = '';
  lost = false;

  connectionMade(transport: SubprocessTransport): void {
    this.transport = transport;
    this.log.push('made');
  }

  pipeDataReceived(fd: number, data: Buffer): void {
    if (fd === 1) this.output += data.toString();
    this.log.push(`data ${fd} ${data.toString()}`);
  }

  pipeConnectionLost(fd: number, error?: Error): void {
    this.log.push(`pipe ${fd} lost${error === undefined ? '' : ` ${error.message}`}`);
  }

  processExited(): void {
    this.log.push('exited');
  }

  connectionLost(error?: Error): void {
    this.lost = true;
    this.log.push(error === undefined ? 'lost' : `lost ${error.message}`);
  }

  pauseWriting(): void {
    this.log.push('pause');
  }

  resumeWriting(): void {
    this.log.push('resume');
  }
}

async function start(
  script: string,
  options: object = pipes,
): Promise<[SubprocessTransport, Recorder]> {
  const loop = getRunningLoop();
  return await loop.subprocessExec(() => new Recorder(), ['sh', '-c', script], options);
}

function input(transport: SubprocessTransport): WriteTransport {
  return transport.getPipeTransport(0) as WriteTransport;
}

// covers: asyncio/create-subprocess-exec
describe('loop.subprocessExec', () => {
  processTest('tells the protocol of outputs, pipes and the end', async () => {
    const [transport, protocol] = await start('echo out; read -r line; echo err >&2; exit 6');
    expect(protocol.log).toEqual(['made']);
    expect(protocol.transport).toBe(transport);
    expect([exists(transport.pid), transport.exitCode]).toEqual([true, null]);
    await until(() => protocol.output === 'out\n');
    input(transport).write('line\n');
    await until(() => protocol.lost);
    expect(transport.exitCode).toBe(6);
    const { log } = protocol;
    expect([log[0], log[1], log.at(-1)]).toEqual(['made', 'data 1 out\n', 'lost']);
    const rest = ['data 2 err\n', 'exited', 'pipe 0 lost', 'pipe 1 lost', 'pipe 2 lost'];
    expect(log.slice(2, -1).sort()).toEqual(rest);
    expect(log.indexOf('data 2 err\n')).toBeLessThan(log.indexOf('pipe 2 lost'));
  });

  processTest('writes to the process and ends its input', async () => {
    const [transport, protocol] = await start('cat; echo end');
    const stdin = input(transport);
    expect(stdin.write('a')).toBe(true);
    expect(stdin.writeLines(['b', Buffer.from('c')])).toBe(true);
    stdin.writeEof();
    await until(() => protocol.lost);
    expect(protocol.output).toBe('abcend\n');
    expect(protocol.log).toContain('pipe 0 lost');
    expect(stdin.closing).toBe(true);
  });

  processTest('has transports for pipes only', async () => {
    const options = { stdin: 'ignore', stdout: 'pipe', stderr: 'stdout' } as const;
    const [transport, protocol] = await start('echo a; echo b >&2', options);
    const found = [0, 1, 2, 3, -1].map((fd) => transport.getPipeTransport(fd) !== null);
    expect(found).toEqual([false, true, false, false, false]);
    const { fd, localAddress, remoteAddress, tls } = transport;
    expect([fd, localAddress, remoteAddress, tls]).toEqual([null, null, null, null]);
    await until(() => protocol.lost);
    expect(protocol.output).toBe('a\nb\n');
  });

  processTest('without any pipe ends with the process', async () => {
    const [transport, protocol] = await start('exit 2', {});
    await until(() => protocol.lost);
    expect([protocol.log, transport.exitCode]).toEqual([['made', 'exited', 'lost'], 2]);
  });

  processTest('a protocol needs no methods', async () => {
    const loop = getRunningLoop();
    const [transport] = await loop.subprocessExec(() => ({}), ['sh', '-c', 'echo x'], pipes);
    await until(() => transport.closing);
    expect(transport.exitCode).toBe(0);
  });

  processTest('tells of a signal as minus its number', async () => {
    const [transport, protocol] = await start('cat');
    expect(() => transport.sendSignal('SIGFOO' as never)).toThrow(TypeError);
    transport.terminate();
    await until(() => protocol.lost);
    expect(transport.exitCode).toBe(-15);
    transport.kill();
    transport.sendSignal('SIGHUP');
  });

  processTest('pauses writing above the high-water mark', async () => {
    const [transport, protocol] = await start('exec wc -c');
    transport.sendSignal('SIGSTOP');
    const stdin = input(transport);
    expect(stdin.write(Buffer.alloc(2 ** 20))).toBe(false);
    expect(protocol.log).toEqual(['made', 'pause']);
    expect(stdin.writeBufferBytes).toBeGreaterThan(64 * 1024);
    transport.sendSignal('SIGCONT');
    await until(() => protocol.log.includes('resume'));
    stdin.writeEof();
    await until(() => protocol.lost);
    expect(protocol.output.trim()).toBe(`${2 ** 20}`);
  });

  processTest('pauses reading, and brings all afterwards, the end of the process too', async () => {
    const [transport, protocol] = await start('head -c 40000 /dev/zero');
    const stdout = transport.getPipeTransport(1) as ReadTransport;
    stdout.pauseReading();
    await until(() => protocol.log.includes('exited'));
    for (let i = 0; i < 10; i++) await turn();
    expect([stdout.reading, protocol.output.length, protocol.lost]).toEqual([false, 0, false]);
    stdout.resumeReading();
    await until(() => protocol.lost);
    expect(protocol.output.length).toBe(40_000);
  });

  processTest('closing it kills the process and closes the pipes', async () => {
    const [transport, protocol] = await start(stubborn);
    await until(() => protocol.output === 'ready\n');
    expect(transport.closing).toBe(false);
    transport.close();
    transport.abort();
    expect(transport.closing).toBe(true);
    await until(() => protocol.lost);
    expect(transport.exitCode).toBe(-9);
    expect(protocol.log.filter((entry) => entry === 'lost')).toEqual(['lost']);
    expect(exists(transport.pid)).toBe(false);
  });

  processTest('closing it after the end changes nothing', async () => {
    const [transport, protocol] = await start('exit 1');
    await until(() => protocol.lost);
    const { log } = protocol;
    transport.close();
    await turn();
    expect([protocol.log, transport.exitCode]).toEqual([log, 1]);
  });

  processTest('a pipe that the process closed is lost with EPIPE when written to', async () => {
    const [transport, protocol] = await start('exec <&-; echo closed; kill -STOP $$');
    await until(() => protocol.output !== '');
    input(transport).write('x');
    await until(() => protocol.log.includes('pipe 0 lost write EPIPE'));
    expect(transport.exitCode).toBe(null);
    transport.kill();
    await until(() => protocol.lost);
  });

  processTest('a pipe may be closed by itself', async () => {
    const [transport, protocol] = await start('cat; echo end');
    input(transport).close();
    await until(() => protocol.lost);
    expect(protocol.output).toBe('end\n');
  });

  processTest('another protocol may take over', async () => {
    const [transport, first] = await start('echo one; read -r x; echo two');
    await until(() => first.output === 'one\n');
    const second = new Recorder();
    transport.protocol = second;
    expect(transport.protocol).toBe(second);
    expect(() => {
      transport.protocol = 5 as never;
    }).toThrow(TypeError);
    input(transport).write('\n');
    await until(() => second.lost);
    expect([first.lost, second.output]).toEqual([false, 'two\n']);
  });

  processTest('calls back without a task, in the variables of the caller', async () => {
    const word = new ContextVar<string>('word', { defaultValue: 'none' });
    const seen: unknown[] = [];
    const look = (): void => void seen.push(word.get(), currentTask());
    const loop = getRunningLoop();
    let over = false;
    await word.run('caller', () =>
      loop.subprocessExec(
        () => ({
          connectionMade: look,
          pipeDataReceived: look,
          processExited: look,
          connectionLost() {
            look();
            over = true;
          },
        }),
        ['echo', 'x'],
        { stdout: 'pipe' },
      ),
    );
    await until(() => over);
    expect(seen).toEqual(Array.from({ length: 4 }, () => ['caller', null]).flat());
  });

  processTest('reports errors of callbacks, and ends all the same', async () => {
    const loop = getRunningLoop();
    const seen: ExceptionContext[] = [];
    loop.setExceptionHandler((_loop, context) => seen.push(context));
    const boom = (): never => {
      throw new Error('boom');
    };
    const [transport] = await loop.subprocessExec(
      () => ({
        connectionMade: boom,
        pipeConnectionLost: boom,
        processExited: boom,
        connectionLost: boom,
      }),
      ['true'],
      { stdout: 'pipe' },
    );
    await until(() => transport.closing);
    const names = ['connectionLost', 'connectionMade', 'pipeConnectionLost', 'processExited'];
    expect(seen.map((context) => context.message).sort()).toEqual(
      names.map((name) => `Exception in protocol.${name}()`),
    );
    expect(transport.exitCode).toBe(0);
  });

  processTest('an error about data closes that pipe alone', async () => {
    const loop = getRunningLoop();
    const seen: ExceptionContext[] = [];
    loop.setExceptionHandler((_loop, context) => seen.push(context));
    const lost: (Error | undefined)[] = [];
    const error = new RangeError('mine');
    const [transport] = await loop.subprocessExec(
      () => ({
        pipeDataReceived() {
          throw error;
        },
        pipeConnectionLost: (_fd: number, reason?: Error) => void lost.push(reason),
      }),
      ['sh', '-c', 'echo x; exit 5'],
      { stdout: 'pipe' },
    );
    await until(() => transport.closing);
    expect([transport.exitCode, lost, seen[0]?.error]).toEqual([5, [error], error]);
  });
});

describe('a start that fails', () => {
  processTest('rejects with the error of Node, and calls nothing', async () => {
    const protocol = new Recorder();
    const loop = getRunningLoop();
    const starting = loop.subprocessExec(() => protocol, ['uvio-no-such-program'], pipes);
    expect((await failure(starting)).code).toBe('ENOENT');
    expect(protocol.log).toEqual([]);
  });

  processTest('starts nothing when the factory throws, or makes no protocol', async () => {
    const loop = getRunningLoop();
    const error = new RangeError('mine');
    const throwing = loop.subprocessExec(() => {
      throw error;
    }, ['true']);
    expect(await failure(throwing)).toBe(error);
    const factories = [() => 5, 5, undefined];
    for (const factory of factories) {
      const starting = loop.subprocessExec(factory as never, ['true']);
      expect(await failure(starting)).toBeInstanceOf(TypeError);
    }
    expect(await failure(loop.subprocessExec(() => ({}), 'true' as never))).toBeInstanceOf(
      TypeError,
    );
    expect(openChildren(loop)).toBe(0);
  });

  processTest('starts nothing in a cancelled scope', async () => {
    const scope = new CancelScope();
    scope.cancel();
    await scope.run(() => start('true'));
    expect([scope.cancelledCaught, openChildren(getRunningLoop())]).toEqual([true, 0]);
  });
});

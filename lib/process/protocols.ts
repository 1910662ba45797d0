/**
 * Subprocesses seen through callbacks.
 *
 * In: types only. Out: the names of asyncio's subprocess transport and protocol. Never: behaviour.
 */
import type { Buffer } from 'node:buffer';
import type {
  BaseProtocol,
  BaseTransport,
  ReadTransport,
  WriteTransport,
} from '../io/protocols.ts';

/**
 * (asyncio.SubprocessTransport) `close()` and `abort()` close the pipes and kill the process if it
 * still runs; it has no addresses and no descriptor of its own.
 */
export interface SubprocessTransport extends BaseTransport {
  readonly pid: number;
  /** Null while running; minus the signal's number after a signal. */
  readonly exitCode: number | null;
  /** Null when it is not a pipe. @param fd 0, 1 or 2. */
  getPipeTransport(fd: number): ReadTransport | WriteTransport | null;
  /** Does nothing after the end. */
  sendSignal(signal: NodeJS.Signals): void;
  terminate(): void;
  kill(): void;
}

/**
 * (asyncio.SubprocessProtocol) `connectionLost` comes last: when the process has ended and all
 * pipes are closed. `pauseWriting` and `resumeWriting` are about its standard input.
 */
export interface SubprocessProtocol extends BaseProtocol<SubprocessTransport> {
  /** @param fd 1 or 2. */
  pipeDataReceived?(fd: number, data: Buffer): void;
  /** Once for each pipe; undefined after a clean end. @param fd 0, 1 or 2. */
  pipeConnectionLost?(fd: number, error?: Error): void;
  /** The process has ended. Its pipes may still bring data. */
  processExited?(): void;
}

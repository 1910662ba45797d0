/**
 * What a program of one or several threads serves.
 *
 * In: types only. Out: the seam between workers and kinds of servers. Never: behaviour.
 */
import type { ListenOptions } from '../net-types.ts';
import type { WorkerLoad } from './messages.ts';

/** One server that listens, in this thread. */
export interface Service {
  readonly port: number;
  /** Where clients find it, for people to read. */
  readonly url: string;
  load(): WorkerLoad;
  /** Ends it gracefully, within the time that `Program.closeMs` tells. */
  close(): Promise<void>;
}

export interface PlaceOptions
  extends Pick<ListenOptions, 'host' | 'port' | 'fd' | 'reusePort' | 'backlog' | 'signal'> {
  /** Of a UNIX socket: no public option of all servers, as little as `shareFd`. */
  path?: string;
  shareFd?: boolean;
}

/** A function that serves until it is told to stop, as each of its threads sees it. */
export interface Program<Options extends PlaceOptions = PlaceOptions> {
  /** For messages: 'runApp()'. */
  readonly name: string;
  readonly options: Options;
  readonly handleSignals: readonly NodeJS.Signals[] | false | undefined;
  readonly print: ((text: string) => void) | null | undefined;
  /** How long a service may take to close. Checks all options, before any thread starts. */
  closeMs(): number;
  serve(options: Options): Promise<Service>;
}

/**
 * Listening sockets that systemd has opened: socket activation.
 *
 * In: the environment, by the protocol of sd_listen_fds(3). Out: descriptors with their names.
 * Never: a descriptor opened, closed or looked at.
 */
import { systemErrorByCode } from '../base/errors.ts';

/** A descriptor that systemd has passed. */
export interface ActivatedSocket {
  readonly fd: number;
  /** FileDescriptorName= of the unit, by default the unit's name; 'unknown' when none was told. */
  readonly name: string;
}

/** SD_LISTEN_FDS_START */
const firstFd = 3;

function numberOf(name: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  const error = systemErrorByCode('EINVAL', 'sd_listen_fds');
  error.message += ` (${name} is '${text}')`;
  throw error;
}

/**
 * The sockets that the service manager has passed, to be given to `startServer({ fd })`. None when
 * the process was not started by it, or they are meant for another process (LISTEN_PID). Node has
 * made them close-on-exec when it started, so that subprocesses do not get them. (sd_listen_fds(3))
 *
 * A second call finds none: LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES are removed from
 * `process.env`, whatever comes of the call, so that subprocesses do not take them for theirs.
 * `unsetEnvironment: false` keeps them.
 * @throws Error EINVAL when a variable is no number, or not as many names as sockets came
 */
export function systemdSockets(options: { unsetEnvironment?: boolean } = {}): ActivatedSocket[] {
  const { env } = process;
  const { LISTEN_PID: pid, LISTEN_FDS: fds, LISTEN_FDNAMES: names } = env;
  if (options.unsetEnvironment !== false) {
    delete env['LISTEN_PID'];
    delete env['LISTEN_FDS'];
    delete env['LISTEN_FDNAMES'];
  }
  if (pid === undefined || fds === undefined) return [];
  if (numberOf('LISTEN_PID', pid) !== process.pid) return [];
  const count = numberOf('LISTEN_FDS', fds);
  const list = names?.split(':');
  if (list !== undefined && list.length !== count) numberOf('LISTEN_FDNAMES', names ?? '');
  return Array.from({ length: count }, (_, index) => {
    return { fd: firstFd + index, name: list?.[index] ?? 'unknown' };
  });
}

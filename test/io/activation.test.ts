import { afterEach, expect, test } from 'vitest';
import { systemdSockets } from '../../lib/io/activation.ts';

const names = ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES'];

function set(pid?: string, fds?: string, fdnames?: string): void {
  for (const [index, value] of [pid, fds, fdnames].entries()) {
    if (value !== undefined) process.env[names[index] as string] = value;
  }
}

const left = (): string[] => names.filter((name) => process.env[name] !== undefined);

afterEach(() => {
  for (const name of names) delete process.env[name];
});

const mine = String(process.pid);

test.each([
  [[], []],
  [[mine], []],
  [[mine, '0'], []],
  [['1', '2'], []],
  [[mine, '1'], [{ fd: 3, name: 'unknown' }]],
  [
    [mine, '2', 'web:'],
    [
      { fd: 3, name: 'web' },
      { fd: 4, name: '' },
    ],
  ],
])('%j gives %j, and the variables are gone', (variables, sockets) => {
  set(...(variables as [string?, string?, string?]));
  expect(systemdSockets()).toEqual(sockets);
  expect(left()).toEqual([]);
});

// covers: systemd/listen-fds
test('unsetEnvironment: false keeps them', () => {
  set(mine, '1', 'web');
  expect(systemdSockets({ unsetEnvironment: false })).toEqual([{ fd: 3, name: 'web' }]);
  expect(left()).toEqual(names);
});

test.each([
  ['x', '1', undefined],
  [mine, '-1', undefined],
  [mine, '', undefined],
  [mine, '2', 'one'],
  [mine, '1', 'one:two'],
])('%j %j %j is EINVAL, and they are gone all the same', (pid, fds, fdnames) => {
  set(pid, fds, fdnames);
  expect(() => systemdSockets()).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  expect(left()).toEqual([]);
});

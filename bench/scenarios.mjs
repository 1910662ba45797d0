// What is measured. `bytes` is a message's size, `pipeline` how many are in flight per connection.
export const scenarios = [
  { name: '64B-64', title: '64 B, 64 connections', connections: 64, bytes: 64 },
  { name: '1K-10', title: '1 KiB, 10 connections', connections: 10, bytes: 1024 },
  { name: '1K-256', title: '1 KiB, 256 connections', connections: 256, bytes: 1024 },
  {
    name: '64B-256-p16',
    title: '64 B, 256 connections, 16 in flight',
    connections: 256,
    bytes: 64,
    pipeline: 16,
  },
  { name: '64K-8', title: '64 KiB, 8 connections', connections: 8, bytes: 64 * 1024 },
  { name: '1M-4', title: '1 MiB, 4 connections', connections: 4, bytes: 1024 * 1024 },
  { name: '100K-10', title: '100 KiB, 10 connections', connections: 10, bytes: 100 * 1024 },
  { name: 'ping', title: '64 B, one connection, ping-pong', connections: 1, bytes: 64 },
  {
    name: 'connect',
    title: 'connect + echo + close, 32 at a time',
    connections: 32,
    bytes: 64,
    mode: 'connect',
  },
];

/** The scenario's part of the load generator's command line. */
export function loadArguments(scenario) {
  return [
    ...['--mode', scenario.mode ?? 'echo'],
    ...['--connections', String(scenario.connections)],
    ...['--size', String(scenario.bytes)],
    ...['--pipeline', String(scenario.pipeline ?? 1)],
  ];
}

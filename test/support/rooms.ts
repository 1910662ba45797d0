/** The table of docs/design/data-way.md: which room of lib may import what. */

export interface Room {
  readonly name: string;
  readonly files: RegExp;
  /** Targets inside lib (beside the room's own files). */
  readonly may: RegExp;
  /** Modules of Node; all when left out. */
  readonly node?: RegExp;
}

const BASE = 'lib/base/';
const LOOP = 'lib/loop/[^/]+\\.ts$';
const TASK = 'lib/task/';
const SYNC = 'lib/sync/';
const IO = 'lib/io/';

function below(...targets: string[]): RegExp {
  return new RegExp(`^(${targets.join('|')})`);
}

const NO_IO = /^node:(?!net$|timers|dgram$|tls$|http|dns|fs|child_process)/;

/** First match counts. */
export const rooms: readonly Room[] = [
  { name: 'base', files: /^lib\/base\//, may: below(BASE), node: /^node:(util|buffer)$/ },
  {
    name: 'loop/policy',
    files: /^lib\/loop\/policy\.ts$/,
    // The entry of each backend, which loads nothing by being imported.
    may: below(BASE, LOOP, 'lib/loop/(pure|native|simulated)/backend\\.ts$'),
  },
  {
    name: 'loop/system-names',
    files: /^lib\/loop\/system-names\.ts$/,
    may: below('lib/loop/backend\\.ts$'),
    node: /^node:dns$/,
  },
  {
    name: 'loop',
    files: /^lib\/loop\/[^/]+\.ts$/,
    may: below(BASE, 'lib/loop/(?!policy)[^/]+\\.ts$'),
    node: NO_IO,
  },
  {
    name: 'a backend',
    files: /^lib\/loop\/(pure|native|simulated)\//,
    may: below(BASE, 'lib/loop/(backend|system-names|tls)\\.ts$'),
  },
  { name: 'task', files: /^lib\/task\//, may: below(BASE, LOOP, TASK), node: NO_IO },
  { name: 'sync', files: /^lib\/sync\//, may: below(BASE, TASK, SYNC), node: NO_IO },
  { name: 'io', files: /^lib\/io\//, may: below(BASE, LOOP, TASK, SYNC, IO) },
  {
    name: 'fs, process, threads',
    files: /^lib\/(fs|process|threads)\//,
    may: below(BASE, LOOP, TASK, SYNC, IO, 'lib/(fs|process|threads)/'),
  },
  {
    name: 'http',
    files: /^lib\/http\//,
    // Files of responses are read through fs.
    may: below(BASE, TASK, SYNC, IO, 'lib/fs/', 'lib/http/'),
  },
  {
    name: 'postgres',
    files: /^lib\/postgres\//,
    may: below(BASE, TASK, SYNC, IO, 'lib/postgres/'),
  },
  { name: 'public', files: /^lib\/(testing|inspect|node)\//, may: /^lib\// },
  { name: 'index', files: /^lib\/index\.ts$/, may: /^lib\// },
];

/** A backend may import its own folder, and none of the others. */
export function sameBackend(file: string, target: string): boolean {
  const folder = /^lib\/loop\/(pure|native|simulated)\//.exec(file)?.[0];
  return folder !== undefined && target.startsWith(folder);
}

/** Headers that native/parse may include: no allocation, no I/O. */
export const parseHeaders: ReadonlySet<string> = new Set([
  '<algorithm>',
  '<array>',
  '<arm_neon.h>',
  '<bit>',
  '<cstddef>',
  '<cstdint>',
  '<cstring>',
  '<emmintrin.h>',
  '<immintrin.h>',
  '<limits>',
  '<span>',
  '<string_view>',
  '<type_traits>',
  '<utility>',
]);

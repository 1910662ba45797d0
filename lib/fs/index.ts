/**
 * `uvio/fs`: files whose waits can be cancelled. The rest of node:fs/promises needs no twin.
 *
 * In: the files of this room. Out: their public names. Never: anything else.
 */
export type { AsyncFile, OpenFlags } from './async-file.ts';
export { type AtomicWriteOptions, atomicWrite } from './atomic-write.ts';
export { openFile } from './open-file.ts';
export { type FileEvent, type WatchOptions, watch } from './watch.ts';

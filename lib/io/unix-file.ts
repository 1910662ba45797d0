/**
 * The file of a UNIX socket: whose it is, and when it goes.
 *
 * In: a path. Out: stale files replaced, own files removed. Never: removing what is not a socket,
 * what somebody answers on, or what another server has put there since.
 */
import { linkSync, lstatSync, renameSync, type Stats, unlinkSync } from 'node:fs';

function look(path: string): Stats | null {
  return lstatSync(path, { throwIfNoEntry: false }) ?? null;
}

function sameFile(a: Stats | null, b: Stats | null): boolean {
  return a !== null && b !== null && a.ino === b.ino && a.dev === b.dev;
}

/**
 * Removes a socket file on which nobody answers. False when the path must be left alone.
 * @param answers tries to connect
 */
export async function removeStale(path: string, answers: () => Promise<boolean>): Promise<boolean> {
  const found = look(path);
  if (found === null) return true;
  if (!found.isSocket() || (await answers())) return false;
  // While we asked, another server may have replaced it.
  if (sameFile(found, look(path))) unlinkSync(path);
  return true;
}

/** A file that a listener of ours has made. */
export class UnixFile {
  readonly #path: string;
  readonly #made: Stats | null;
  #rescued: string | null = null;

  constructor(path: string) {
    this.#path = path;
    this.#made = look(path);
  }

  /**
   * libuv removes whatever is at the path when the listener closes. If that is not ours any more,
   * a second name keeps it.
   */
  beforeClose(): void {
    const found = look(this.#path);
    if (found === null || sameFile(found, this.#made)) return;
    const rescue = `${this.#path}.${process.pid}`;
    try {
      linkSync(this.#path, rescue);
      this.#rescued = rescue;
    } catch {
      // A directory, or a place without links: libuv cannot remove it, or we cannot help it.
    }
  }

  afterClose(): void {
    const rescued = this.#rescued;
    this.#rescued = null;
    try {
      if (rescued !== null) {
        if (look(this.#path) === null) renameSync(rescued, this.#path);
        else unlinkSync(rescued);
      } else if (sameFile(look(this.#path), this.#made)) {
        unlinkSync(this.#path);
      }
    } catch {
      // Removed by somebody else meanwhile.
    }
  }
}

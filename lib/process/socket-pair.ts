/**
 * Two connected sockets: one pipe for both outputs of a child.
 *
 * In: nothing. Out: the parent's end and the child's. Never: a name that stays, or that another
 * user could connect to: Node has no socketpair(), so the two meet at a socket in a directory that
 * only this user may enter, and that is gone before the call returns.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { notSupportedError, systemErrorByCode } from '../base/errors.ts';

export interface SocketPair {
  readonly parent: Socket;
  /** To be destroyed once the child has it. */
  readonly child: Socket;
}

/**
 * Rejects with the system's error where no socket can be made in the directory for temporary files,
 * and with ENOTSUP on Windows. Takes about a millisecond and is not cancellable.
 */
export async function openSocketPair(): Promise<SocketPair> {
  if (process.platform === 'win32') {
    throw notSupportedError('spawn', "stderr: 'stdout' with a pipe needs UNIX sockets");
  }
  const folder = mkdtempSync(join(tmpdir(), 'uvio-'));
  try {
    return await meet(join(folder, 's'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function meet(path: string): Promise<SocketPair> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    let child: Socket | undefined;
    let parent: Socket | undefined;
    const fail = (error: Error): void => {
      server.close();
      parent?.destroy();
      child?.destroy();
      reject(error);
    };
    // Out of descriptors libuv accepts and closes, and tells nobody (docs/decisions/0005).
    const refused = (): void => fail(systemErrorByCode('EMFILE', 'accept', path));
    const check = (): void => {
      if (parent === undefined || child === undefined || child.connecting) return;
      // Its callback would wait for the connections; the name is gone at once.
      server.close();
      child.off('error', fail);
      child.off('close', refused);
      resolve({ parent, child });
    };
    server.on('error', fail);
    server.once('connection', (socket) => {
      parent = socket;
      check();
    });
    server.listen(path, () => {
      child = connect(path, check);
      child.on('error', fail);
      child.on('close', refused);
      // Or it would not see its end.
      child.resume();
    });
  });
}

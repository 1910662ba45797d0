/** Without a compiler the native build says what is missing, and callers can tell. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../support/source-tree.ts';

test('a missing compiler is exit code 3 and a message that says what to do', () => {
  const bin = mkdtempSync(join(tmpdir(), 'uvio-bin-'));
  symlinkSync(process.execPath, join(bin, 'node'));
  const env = { PATH: bin, HOME: bin };
  const script = join(root, 'scripts/build-native.mjs');
  const { status, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8', env });
  rmSync(bin, { recursive: true });
  expect(status).toBe(3);
  expect(stderr).toContain('g++');
  expect(stderr).toContain('pure()');
});

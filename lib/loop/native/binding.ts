/**
 * The only loader of the addon.
 *
 * In: nothing but the file system and `UVIO_NATIVE_PATH` (tests, sanitizer builds). Out: the
 * binding, or why there is none. Never: loading at import, throwing.
 */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Binding } from './layout.ts';

export interface NativeInfo {
  readonly available: boolean;
  /** Why the addon is not available. */
  readonly reason?: string;
  /** libuv version the process runs on. */
  readonly uv?: string;
  readonly engines: readonly ('uv' | 'io_uring')[];
  /** Path of the loaded addon. */
  readonly path?: string;
}

export interface Loaded {
  readonly binding: Binding | null;
  readonly info: NativeInfo;
}

let loaded: Loaded | undefined;

/** Loads once for each thread. */
export function loadBinding(): Loaded {
  // Bun aborts and Deno may crash on uv_* calls: refuse before the file is opened.
  const runtime = foreignRuntime();
  if (runtime !== null) return unavailable(`${runtime} has no libuv loop for addons`);
  loaded ??= load();
  return loaded;
}

function foreignRuntime(): 'Bun' | 'Deno' | null {
  if (process.versions['bun'] !== undefined) return 'Bun';
  if ('Deno' in globalThis) return 'Deno';
  return null;
}

function unavailable(reason: string): Loaded {
  return { binding: null, info: { available: false, reason, engines: [] } };
}

/**
 * An instance of the addon of our own. `require` would give each copy of uvio in a thread the same
 * one, which serves only the first: test runners load a package once for each file.
 */
export function openAddon(path: string): unknown {
  const module = { exports: {} };
  process.dlopen(module, path);
  return module.exports;
}

function load(): Loaded {
  if (process.platform === 'win32') return unavailable('Windows is served by pure()');
  const require = createRequire(import.meta.url);
  try {
    const path = process.env['UVIO_NATIVE_PATH'] ?? resolve(require);
    const binding = openAddon(path) as Binding;
    const info: NativeInfo = { available: true, uv: binding.uvVersion(), engines: ['uv'], path };
    return { binding, info };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return unavailable(`the addon could not be loaded: ${text.split('\n', 1)[0]}`);
  }
}

function resolve(require: NodeJS.Require): string {
  const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
  // node-gyp-build takes the first file of a folder, and the addon for TLS lies beside this one.
  const built = join(root, 'build', 'Release', 'uvio_native.node');
  if (existsSync(built)) return built;
  const nodeGypBuild = require('node-gyp-build') as { resolve(dir: string): string };
  const found = nodeGypBuild.resolve(root);
  if (basename(found) === 'uvio_tls.node') throw new Error('only the addon for TLS was built');
  return found;
}

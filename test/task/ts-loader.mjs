// Lets plain Node run the TypeScript of this repository, for tests with a process of their own.
// What was transpiled once is kept by its content.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { register } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';

const index = new URL('../../lib/index.ts', import.meta.url).href;

/** Examples import the package by its name. */
export function resolve(specifier, context, next) {
  return specifier === 'uvio' ? { url: index, shortCircuit: true } : next(specifier, context);
}

const kept = new URL('../../build/transpiled/', import.meta.url);

/** What Node 20 does not know, and the faster one would import helpers for. */
const scoped = /^\s*(?:await )?using \w+ =/m;

// Only in the thread of the hooks: the program's own heap is measured by some tests.
async function transpile(text) {
  if (!scoped.test(text)) {
    const { transformSync } = await import('rolldown/utils');
    const { code, errors } = transformSync('source.ts', text, { target: 'es2023' });
    if (errors.length > 0) throw new SyntaxError(errors[0].message);
    return code;
  }
  const { default: ts } = await import('typescript');
  const compilerOptions = { module: 'esnext', target: 'es2023' };
  return ts.transpileModule(text, { compilerOptions }).outputText;
}

export async function load(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context);
  const text = readFileSync(fileURLToPath(url), 'utf8');
  const file = new URL(`${createHash('sha256').update(text).digest('hex')}.js`, kept);
  let source;
  try {
    source = readFileSync(file, 'utf8');
  } catch {
    source = await transpile(text);
    mkdirSync(kept, { recursive: true });
    // Others may do the same at this time.
    const own = new URL(`${file.href}.${process.pid}`);
    writeFileSync(own, source);
    renameSync(own, file);
  }
  return { format: 'module', source, shortCircuit: true };
}

if (isMainThread) register(import.meta.url);

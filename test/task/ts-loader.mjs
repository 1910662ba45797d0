// Lets plain Node run the TypeScript of this repository, for tests with a process of their own.
import { readFileSync } from 'node:fs';
import { register } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';

const index = new URL('../../lib/index.ts', import.meta.url).href;

/** Examples import the package by its name. */
export function resolve(specifier, context, next) {
  return specifier === 'uvio' ? { url: index, shortCircuit: true } : next(specifier, context);
}

export async function load(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context);
  // Only in the thread of the hooks: the program's own heap is measured by some tests.
  const { default: ts } = await import('typescript');
  const text = readFileSync(fileURLToPath(url), 'utf8');
  const compilerOptions = { module: 'esnext', target: 'es2023' };
  const source = ts.transpileModule(text, { compilerOptions }).outputText;
  return { format: 'module', source, shortCircuit: true };
}

if (isMainThread) register(import.meta.url);

/** Runs a program of our pages as its reader would: compiled, in a process of its own. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { expect } from 'vitest';
import { root, text } from './source-tree.ts';

/** What its `console.log(…); // text` say that it prints. */
export function expectedOutput(program: string): string[] {
  return [...program.matchAll(/console\.log.*\/\/ (.*)$/gm)].map((match) => match[1] ?? '');
}

/** The lines that it prints. Needs the built package. */
export function runProgram(name: string, program: string): string[] {
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext };
  const { outputText } = ts.transpileModule(program, { compilerOptions });
  // Inside the package, so that 'uvio' is the package itself.
  const folder = join(root, 'build/programs');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${name}.mjs`);
  writeFileSync(file, outputText);
  const output = execFileSync(process.execPath, [file], { encoding: 'utf8', timeout: 20_000 });
  return output.trimEnd().split('\n');
}

/** Title and text of the first program below each heading of docs/guide/NAME.md. */
export function guidePrograms(name: string): [title: string, program: string][] {
  const found = text(`docs/guide/${name}.md`).matchAll(/^## (.*?)$.*?```ts\n(.*?)```/gms);
  return [...found].map((match) => [match[1] as string, match[2] as string]);
}

/** Runs it; it must print what its comments say. */
export function checkProgram(guide: string, title: string, program: string): void {
  const name = `guide-${guide}-${title.toLowerCase().replaceAll(/\W+/g, '-')}`;
  expect(runProgram(name, program)).toEqual(expectedOutput(program));
}

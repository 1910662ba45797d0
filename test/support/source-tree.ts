/** Reads the repository for tidy.test.ts: files, imports, functions. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export const root: string = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Files that are, or would be, in the repository; paths from its root. */
export const files: readonly string[] = execFileSync(
  'git',
  ['ls-files', '--cached', '--others', '--exclude-standard'],
  { cwd: root, encoding: 'utf8' },
)
  .split('\n')
  .filter((file) => file !== '' && existsSync(join(root, file)));

const cache = new Map<string, string>();

export function text(file: string): string {
  let content = cache.get(file);
  if (content === undefined) {
    content = readFileSync(join(root, file), 'utf8');
    cache.set(file, content);
  }
  return content;
}

export function lines(file: string): string[] {
  const all = text(file).split('\n');
  return all.at(-1) === '' ? all.slice(0, -1) : all;
}

export function parse(file: string): ts.SourceFile {
  return ts.createSourceFile(file, text(file), ts.ScriptTarget.ES2023, true);
}

/** Calls `visit` on the node and all below it. */
export function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node);
  ts.forEachChild(node, (child) => walk(child, visit));
}

export interface Import {
  /** As written. */
  readonly specifier: string;
  /** From the root, for a relative one; else the specifier. */
  readonly target: string;
  /** `import type`, or a type position: erased at run time. */
  readonly typeOnly: boolean;
}

interface ModuleUse {
  readonly literal: ts.Node;
  readonly typeOnly: boolean;
}

function moduleOf(node: ts.Node): ModuleUse | null {
  if (ts.isImportDeclaration(node)) {
    const typeOnly = node.importClause?.isTypeOnly ?? false;
    return { literal: node.moduleSpecifier, typeOnly };
  }
  if (ts.isExportDeclaration(node) && node.moduleSpecifier) {
    return { literal: node.moduleSpecifier, typeOnly: node.isTypeOnly };
  }
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
    return { literal: node.argument.literal, typeOnly: true };
  }
  if (ts.isCallExpression(node)) {
    const literal = node.arguments[0];
    const isImport = node.expression.kind === ts.SyntaxKind.ImportKeyword;
    const loads = isImport || /^require\w*$/.test(node.expression.getText());
    return loads && literal ? { literal, typeOnly: false } : null;
  }
  return null;
}

/** Every way of a TypeScript file into another: static, type, re-export, import(), require. */
export function importsOf(file: string): Import[] {
  const found: Import[] = [];
  walk(parse(file), (node) => {
    const use = moduleOf(node);
    if (!use || !ts.isStringLiteral(use.literal)) return;
    const specifier = use.literal.text;
    const target = specifier.startsWith('.')
      ? posix.normalize(posix.join(posix.dirname(file), specifier))
      : specifier;
    found.push({ specifier, target, typeOnly: use.typeOnly });
  });
  return found;
}

export interface FunctionSize {
  readonly name: string;
  readonly line: number;
  readonly lines: number;
}

function functionName(node: ts.Node): string {
  const named = node as { name?: ts.Node };
  if (named.name) return named.name.getText();
  const parent = node.parent as { name?: ts.Node } | undefined;
  return parent?.name?.getText() ?? '(anonymous)';
}

export function functionsOf(file: string): FunctionSize[] {
  const source = parse(file);
  const found: FunctionSize[] = [];
  walk(source, (node) => {
    if (!ts.isFunctionLike(node) || !('body' in node) || !node.body) return;
    const first = source.getLineAndCharacterOfPosition(node.getStart()).line;
    const last = source.getLineAndCharacterOfPosition(node.end).line;
    found.push({ name: functionName(node), line: first + 1, lines: last - first + 1 });
  });
  return found;
}

const NOT_A_FUNCTION =
  /^\s*(if|for|while|switch|else|do|namespace|class|struct|enum|union|extern)\b/;

/** Functions of a C++ file in our layout: the closing brace stands under the opening line. */
export function cppFunctionsOf(file: string): FunctionSize[] {
  const all = lines(file);
  const found: FunctionSize[] = [];
  for (const [index, line] of all.entries()) {
    if (!/\{\s*$/.test(line) || NOT_A_FUNCTION.test(line)) continue;
    // A signature may be broken over lines: look back to the last line that ends a statement.
    let first = index;
    while (first > 0 && !/[;{}:]\s*$|^\s*(\/\/.*)?$|^#/.test(all[first - 1] ?? '')) first -= 1;
    const head = all.slice(first, index + 1).join(' ');
    if (!/\w\s*\(.*\)/.test(head) || NOT_A_FUNCTION.test(all[first] ?? '')) continue;
    const indent = /^\s*/.exec(all[first] ?? '')?.[0] ?? '';
    const end = all.findIndex((other, at) => at > index && other.startsWith(`${indent}}`));
    const name = /([\w:~]+)\s*\(/.exec(head)?.[1] ?? '(anonymous)';
    if (end > 0) found.push({ name, line: first + 1, lines: end - first + 1 });
  }
  return found;
}

/** `#include` names of a C++ file, with their brackets or quotes. */
export function includesOf(file: string): string[] {
  return [...text(file).matchAll(/^\s*#\s*include\s*([<"][^>"]+[>"])/gm)].map((m) => m[1] ?? '');
}

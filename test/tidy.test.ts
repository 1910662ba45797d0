/** The habits of the house as a test: who imports whom, sizes, lists that must agree. */
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { errorsPage } from '../scripts/gen-errors-doc.mjs';
import { type FaultResults, faultsPage } from './faults/page.ts';
import { parseHeaders, rooms, sameBackend } from './support/rooms.ts';
import {
  cppFunctionsOf,
  files,
  functionsOf,
  importsOf,
  includesOf,
  lines,
  parse,
  text,
  walk,
} from './support/source-tree.ts';

const MAX_FILE_LINES = 500;
const MAX_FUNCTION_LINES = 70;
const MAX_COLUMNS = 100;

const under = (pattern: RegExp): string[] => files.filter((file) => pattern.test(file));
const libFiles = under(/^lib\/.*\.ts$/);
const cppFiles = under(/^(native|bench)\/.*\.(cc|h)$/);
const nativeFiles = under(/^native\/.*\.(cc|h)$/);
const sourceFiles = [...under(/\.(ts|mjs)$/), ...cppFiles];

const dependencies = new Set(
  Object.keys((JSON.parse(text('package.json')) as { dependencies: object }).dependencies),
);

describe('rooms', () => {
  test('every file of lib is in a room, and imports only what its room may', () => {
    const wrong: string[] = [];
    for (const file of libFiles) {
      const room = rooms.find((candidate) => candidate.files.test(file));
      if (!room) wrong.push(`${file}: in no room`);
      for (const { specifier, target, typeOnly } of room ? importsOf(file) : []) {
        const say = (why: string): unknown => wrong.push(`${file} imports ${specifier}: ${why}`);
        if (specifier.startsWith('node:')) {
          if (!typeOnly && room?.node?.test(specifier) === false) say(`not in ${room.name}`);
        } else if (specifier.startsWith('.')) {
          if (!room?.may.test(target) && !sameBackend(file, target)) say(`${room?.name} may not`);
          if (!specifier.endsWith('.ts')) say('imports carry .ts');
          if (!files.includes(target)) say('no such file');
        } else if (!dependencies.has(specifier)) {
          say('not a dependency');
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  test('only the addon loader knows node-gyp-build', () => {
    const users = libFiles.filter((file) => text(file).includes("'node-gyp-build'"));
    expect(users.filter((file) => !file.startsWith('lib/loop/native/'))).toEqual([]);
  });

  test('native: core knows uv, tls OpenSSL, parse nothing, bind napi', () => {
    const wrong: string[] = [];
    for (const file of nativeFiles.filter((name) => !name.startsWith('native/test/'))) {
      const room = file.split('/')[1] ?? '';
      for (const include of includesOf(file)) {
        const napi = /napi|node_api|<node|<v8/.test(include);
        const uv = include === '<uv.h>';
        const openssl = include.startsWith('<openssl/');
        const bad =
          (room === 'core' && (napi || openssl || /"(bind|parse|tls)\//.test(include))) ||
          (room === 'tls' && (napi || uv || /"(bind|core|parse)\//.test(include))) ||
          (room === 'parse' &&
            (napi || uv || (include.startsWith('<') && !parseHeaders.has(include)))) ||
          (room === 'parse' && /"(core|bind|tls)\//.test(include));
        if (bad) wrong.push(`${file} includes ${include}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe('native sources', () => {
  const listed = Object.values(
    JSON.parse(text('native/sources.json')) as Record<string, string[]>,
  ).flat();

  test('native/sources.json lists every .cc file, once', () => {
    const wanted = under(/^native\/(core|parse|bind|tls)\/.*\.cc$/);
    expect([...listed].sort()).toEqual([...wanted].sort());
  });

  test('both builds read their sources from it and list none themselves', () => {
    for (const build of ['binding.gyp', 'CMakeLists.txt']) {
      expect(text(build)).toContain('native/sources.json');
      expect(text(build)).not.toMatch(/(core|parse|bind|tls)\/\w+\.cc/);
    }
  });

  test('headers open with owner, lifetime, thread and re-entrancy', () => {
    const wrong = nativeFiles.filter((file) => {
      const head = lines(file).slice(0, 30).join('\n');
      return file.endsWith('.h') && !/Owner:.*Lifetime:.*Thread:.*Re-entrancy:/s.test(head);
    });
    expect(wrong).toEqual([]);
  });
});

describe('sizes', () => {
  test(`files have less than ${MAX_FILE_LINES} lines`, () => {
    expect(sourceFiles.filter((file) => lines(file).length >= MAX_FILE_LINES)).toEqual([]);
  });

  test(`functions have less than ${MAX_FUNCTION_LINES} lines`, () => {
    const long: string[] = [];
    // A describe() is a chapter, not a function.
    const measured = sourceFiles.filter((file) => !file.endsWith('.test.ts'));
    for (const file of measured) {
      const functions = /\.(cc|h)$/.test(file) ? cppFunctionsOf(file) : functionsOf(file);
      for (const { name, line, lines: size } of functions) {
        if (size >= MAX_FUNCTION_LINES) long.push(`${file}:${line} ${name}: ${size} lines`);
      }
    }
    expect(long).toEqual([]);
  });

  test(`lines have at most ${MAX_COLUMNS} columns`, () => {
    const wide: string[] = [];
    for (const file of [...sourceFiles, ...under(/\.(gyp|txt)$/)]) {
      for (const [index, line] of lines(file).entries()) {
        if ([...line].length > MAX_COLUMNS) wide.push(`${file}:${index + 1}`);
      }
    }
    expect(wide).toEqual([]);
  });
});

describe('words', () => {
  test('a to-do names its issue', () => {
    // Taken apart, so that this file does not find itself.
    const words = ['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX'];
    const mark = new RegExp(`\\b(${words.join('|')})\\b(?!\\(#\\d+\\))`);
    const wrong = [...sourceFiles, ...under(/\.md$/)].filter((file) => mark.test(text(file)));
    expect(wrong).toEqual([]);
  });

  test('no default export, enum, namespace or top-level await in lib', () => {
    const wrong: string[] = [];
    for (const file of libFiles) {
      const source = parse(file);
      walk(source, (node) => {
        if (ts.isExportAssignment(node)) wrong.push(`${file}: export default`);
        if (node.kind === ts.SyntaxKind.DefaultKeyword && !ts.isDefaultClause(node.parent)) {
          wrong.push(`${file}: export default`);
        }
        if (ts.isEnumDeclaration(node)) wrong.push(`${file}: enum`);
        // `declare module` augments; a namespace emits code.
        if (ts.isModuleDeclaration(node) && !/^declare (module|global)/.test(node.getText())) {
          wrong.push(`${file}: namespace`);
        }
        const awaits =
          ts.isAwaitExpression(node) || (ts.isForOfStatement(node) && node.awaitModifier);
        if (awaits && !ts.findAncestor(node, ts.isFunctionLike)) {
          wrong.push(`${file}: top-level await`);
        }
      });
    }
    expect(wrong).toEqual([]);
  });

  test('no path of a machine and no registry in any file', () => {
    const path = new RegExp(`(^|[\\s"'\`(=])/(work|home|root|Users)/|registry\\.${'npmjs'}`, 'm');
    expect(files.filter((file) => isText(file) && path.test(text(file)))).toEqual([]);
  });

  test('no log, profile or rest of a merge', () => {
    const left = /\.(log|cpuprofile|heapsnapshot|tgz|orig|rej|node|o|so)$|(^|\/)(perf\.data|core$)/;
    expect(files.filter((file) => left.test(file))).toEqual([]);
  });

  test('no tabs and no trailing blanks', () => {
    const wrong = sourceFiles.filter((file) => /\t|[ \t]$/m.test(text(file)));
    expect(wrong).toEqual([]);
  });
});

describe('lists that must agree', () => {
  const manifest = JSON.parse(text('package.json')) as {
    version: string;
    exports: Record<string, { types: string; default: string } | string | null>;
  };

  test('the exports map names files that the build makes', () => {
    for (const [subpath, target] of Object.entries(manifest.exports)) {
      if (target === null || typeof target === 'string') continue;
      const source = target.default.replace(/^\.\/dist\/(.*)\.js$/, 'lib/$1.ts');
      expect(files, `source of ${subpath}`).toContain(source);
      expect(target.types).toBe(target.default.replace(/\.js$/, '.d.ts'));
    }
  });

  test('docs/reference/errors.md is what scripts/gen-errors-doc.mjs makes', async () => {
    const { errorTable } = await import('../lib/base/errors.ts');
    expect(text('docs/reference/errors.md')).toBe(errorsPage(errorTable));
  });

  test('docs/reference/faults.md is what scripts/faults.mjs makes of its results', () => {
    const results = JSON.parse(text('test/faults/results.json')) as FaultResults;
    expect(text('docs/reference/faults.md')).toBe(faultsPage(results));
  });

  test('CHANGELOG.md is a Keep-a-Changelog and knows this version or is ahead of it', () => {
    const headings = lines('CHANGELOG.md').filter((line) => line.startsWith('## '));
    expect(headings[0]).toBe('## [Unreleased]');
    for (const heading of headings.slice(1)) {
      expect(heading).toMatch(/^## \[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d$/);
    }
    const kinds = /^### (Added|Changed|Deprecated|Removed|Fixed|Security)$/;
    const parts = lines('CHANGELOG.md').filter((line) => line.startsWith('### '));
    expect(parts.filter((line) => !kinds.test(line))).toEqual([]);
  });

  test('the lockfile names no registry', () => {
    expect(text('package-lock.json')).not.toMatch(/"resolved"|https?:\/\/registry/);
  });

  test('links between our pages lead to files', () => {
    const broken: string[] = [];
    for (const page of under(/\.md$/)) {
      for (const match of text(page).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)) {
        const target = new URL(match[1] ?? '', `file:///${page}`).pathname.slice(1);
        const found = files.some((file) => file === target || file.startsWith(`${target}/`));
        if (!found) broken.push(`${page} -> ${match[1]}`);
      }
    }
    expect(broken).toEqual([]);
  });
});

function isText(file: string): boolean {
  return /\.(ts|mjs|json|md|cc|h|gyp|txt|svg|yml|sh)$/.test(file) || file.startsWith('.ci/');
}

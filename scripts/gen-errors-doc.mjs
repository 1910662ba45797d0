// Writes docs/reference/errors.md from the table in lib/base/errors.ts (through dist/).
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './support/run.mjs';

const HEAD = `# Errors

Made by \`node scripts/gen-errors-doc.mjs\` from the table in \`lib/base/errors.ts\`; do not edit.

An error has a class and a \`code\`. Test for the code: messages may change. System errors
(\`ECONNREFUSED\`, \`EADDRINUSE\` …) have Node's own shape: \`code\`, \`errno\`, \`syscall\`,
\`address\`, \`port\`. Where an error wraps another, that one is its \`cause\`.

| Code | Class | Message |
|-|-|-|
`;

/** @param {readonly { code: string, className: string, message: string }[]} table */
export function errorsPage(table) {
  const rows = table.map(({ code, className, message }) => {
    return `| <a id="${code.toLowerCase()}"></a>\`${code}\` | \`${className}\` | ${message} |`;
  });
  return `${HEAD}${rows.join('\n')}\n`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { errorTable } = await import(pathToFileURL(join(root, 'dist/base/errors.js')).href);
  mkdirSync(join(root, 'docs/reference'), { recursive: true });
  writeFileSync(join(root, 'docs/reference/errors.md'), errorsPage(errorTable));
}

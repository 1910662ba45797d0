// Writes lib/postgres/sqlstates.ts from PostgreSQL's errcodes.txt (Debian: postgresql-15):
// `node scripts/gen-sqlstates.mjs [/usr/share/postgresql/15/errcodes.txt]`
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './support/run.mjs';

const source = process.argv[2] ?? '/usr/share/postgresql/15/errcodes.txt';

/** Newer than the file that Debian 12 has. */
const names = new Map([['25P04', 'transaction_timeout']]);
for (const line of readFileSync(source, 'utf8').split('\n')) {
  const [, code, name] = /^([0-9A-Z]{5})\s+[EWS]\s+\w+(?:\s+(\w+))?/.exec(line) ?? [];
  // Aliases come later.
  if (code !== undefined && name !== undefined && !names.has(code)) names.set(code, name);
}

const rows = [...names]
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([code, name]) => `${code} ${name}`);
const text = `/**
 * The names of SQLSTATE codes. Made by \`node scripts/gen-sqlstates.mjs\`; do not edit.
 *
 * In: nothing. Out: a line for each code. Never: anything else.
 */

/** \`23505 unique_violation\`, a line each. */
export const sqlStates: string = \`
${rows.join('\n')}
\`;
`;
writeFileSync(join(root, 'lib/postgres/sqlstates.ts'), text);
console.log(`${rows.length} codes`);

// Checks that a prebuilt addon runs wherever Node 20 to 26 do: the newest symbol versions that it
// needs, the symbols that it leaves to the process, its size.
//
//   node scripts/check-prebuild.mjs [file.node …]    default: all under prebuilds/
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { main, StepError } from './support/progress.mjs';
import { root, run } from './support/run.mjs';

/** What the Node binaries themselves ask for. */
const MAX_VERSIONS = { GLIBC: [2, 28], GLIBCXX: [3, 4, 21], CXXABI: [1, 3, 9] };
const MAX_BYTES = 512 * 1024;

/** What else the process has to export, in the folder tls/: the OpenSSL that Node brings. */
const OPENSSL = /^(SSL_|TLS_|BIO_|ERR_|X509_|OPENSSL_|OpenSSL_|CRYPTO_|[di]2[di]_|EVP_)/;

function newer(version, limit) {
  const parts = version.split('.').map(Number);
  for (let i = 0; i < Math.max(parts.length, limit.length); i += 1) {
    const difference = (parts[i] ?? 0) - (limit[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}

/** Undefined symbols of `objdump -T`; those of the process itself have the version `Base`. */
function undefinedSymbols(table) {
  const symbols = [];
  for (const line of table.split('\n')) {
    const match = /\*UND\*\s+\S+\s+(?:\(?([\w.]+)\)?\s+)?(\S+)$/.exec(line.trim());
    if (match) symbols.push({ version: match[1] ?? 'Base', name: match[2] });
  }
  return symbols;
}

function complaintsAbout(symbols, tls) {
  const complaints = [];
  for (const { version, name } of symbols) {
    const [, family, number] = /^(\w+?)_([\d.]+)$/.exec(version) ?? [];
    const limit = family ? MAX_VERSIONS[family] : undefined;
    if (limit && newer(number, limit)) {
      complaints.push(`${name} needs ${version}, allowed is ${family}_${limit.join('.')}`);
    } else if (version === 'Base' && !/^(napi_|node_api_|uv_|_ITM_|__gmon_start__)/.test(name)) {
      const allowed = tls && OPENSSL.test(name);
      if (!allowed) complaints.push(`${name} is not one of the process`);
    }
  }
  return complaints;
}

async function check(file) {
  const { code, output } = await run('objdump', ['-T', file]);
  if (code !== 0) throw new StepError(`objdump failed on ${file}`, output);
  const symbols = undefinedSymbols(output);
  const complaints = complaintsAbout(symbols, basename(dirname(file)) === 'tls');
  const bytes = statSync(file).size;
  if (bytes > MAX_BYTES) complaints.push(`${bytes} bytes, allowed are ${MAX_BYTES}`);
  if (symbols.length === 0) complaints.push('no symbols were read');
  const own = symbols.filter(({ version }) => version === 'Base').length;
  console.log(`${file.slice(root.length + 1)}: ${bytes} bytes, ${own} symbols of the process`);
  if (complaints.length > 0) throw new StepError(complaints.join('\n'));
}

function prebuilds() {
  const folder = join(root, 'prebuilds');
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true })
    .filter((name) => name.startsWith('linux-') && name.endsWith('.node'))
    .map((name) => join(folder, name));
}

await main(async () => {
  const files = process.argv.length > 2 ? process.argv.slice(2) : prebuilds();
  if (files.length === 0) throw new StepError('no prebuild: run `npm run build:prebuilds` first');
  for (const file of files) await check(file);
});

/**
 * libpq's files: passwords, services, certificates.
 *
 * In: paths. Out: a password, the settings of a service, options of TLS. Never: a password file
 * that others may read; an error for one that is not there.
 */
import type { Buffer } from 'node:buffer';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { TlsClientOptions } from '../io/net-types.ts';
import { InterfaceError } from './errors.ts';
import type { Address } from './options.ts';

/** The five fields of a line; '\' escapes ':' and itself. */
function fieldsOf(line: string): string[] {
  const fields: string[] = [];
  let field = '';
  for (let i = 0; i < line.length; i++) {
    const char = line[i] as string;
    if (char === '\\' && i + 1 < line.length) {
      field += line[++i];
    } else if (char === ':' && fields.length < 4) {
      fields.push(field);
      field = '';
    } else {
      field += char;
    }
  }
  fields.push(field);
  return fields;
}

/** The password of the first line that fits (libpq: ~/.pgpass). */
export function readPassword(
  path: string,
  address: Address,
  database: string,
  user: string,
): string | undefined {
  if (!existsSync(path)) return undefined;
  const stat = statSync(path);
  if (!stat.isFile()) return undefined;
  if (process.platform !== 'win32' && (stat.mode & 0o077) !== 0) {
    process.emitWarning(`The password file ${path} is not used: others may read it (chmod 600)`, {
      code: 'UVIO_POSTGRES_PASSFILE',
    });
    return undefined;
  }
  // libpq has the folder of a socket in its place, if it is not its own default.
  const hosts = address.host.startsWith('/') ? ['localhost', address.host] : [address.host];
  const wanted = [hosts, [String(address.port)], [database], [user]];
  for (const line of readFileSync(path, 'utf8').split(/\r?\n/)) {
    if (line === '' || line.startsWith('#')) continue;
    const fields = fieldsOf(line);
    if (fields.length !== 5) continue;
    if (wanted.every((values, i) => fields[i] === '*' || values.includes(fields[i] as string))) {
      return fields[4];
    }
  }
  return undefined;
}

/** The settings of one section of pg_service.conf. @throws InterfaceError when there is none. */
export function readService(name: string): Map<string, string> {
  const places = [process.env['PGSERVICEFILE'] ?? join(homedir(), '.pg_service.conf')];
  const folder = process.env['PGSYSCONFDIR'];
  if (folder !== undefined) places.push(join(folder, 'pg_service.conf'));
  for (const path of places) {
    if (!existsSync(path)) continue;
    const found = section(readFileSync(path, 'utf8'), name);
    if (found !== undefined) return found;
  }
  throw new InterfaceError(`No service '${name}' in ${places.join(' or ')}`);
}

function section(text: string, name: string): Map<string, string> | undefined {
  let found: Map<string, string> | undefined;
  for (const raw of text.split(/\r?\n/)) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    if (line.startsWith('[')) {
      if (found !== undefined) break;
      if (line === `[${name}]`) found = new Map();
    } else if (found !== undefined) {
      const equals = line.indexOf('=');
      if (equals < 1) throw new InterfaceError(`A line of service '${name}' is not 'name=value'`);
      found.set(line.slice(0, equals).trim(), line.slice(equals + 1).trim());
    }
  }
  return found;
}

function readTlsFile(name: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new InterfaceError(`${name}: ${path} cannot be read`, { cause });
  }
}

/**
 * Certificates by libpq's settings, else those in ~/.postgresql. `sslrootcert=system`, and none,
 * mean the authorities that Node trusts. @throws InterfaceError for a file that cannot be read
 */
export function readTlsFiles(settings: ReadonlyMap<string, string>): TlsClientOptions {
  const home = join(homedir(), '.postgresql');
  const pathOf = (setting: string, usual: string): string | undefined => {
    const path = settings.get(setting);
    if (path !== undefined && path !== '') return path;
    const usualPath = join(home, usual);
    return existsSync(usualPath) ? usualPath : undefined;
  };
  const options: TlsClientOptions = {};
  const root = settings.get('sslrootcert') ?? '';
  if (root !== '' && root !== 'system') options.ca = readTlsFile('sslrootcert', root);
  const cert = pathOf('sslcert', 'postgresql.crt');
  if (cert !== undefined) {
    options.cert = readTlsFile('sslcert', cert);
    const key = pathOf('sslkey', 'postgresql.key');
    if (key === undefined)
      throw new InterfaceError('There is a certificate (sslcert), and no sslkey');
    options.key = readTlsFile('sslkey', key);
    const passphrase = settings.get('sslpassword');
    if (passphrase !== undefined) options.passphrase = passphrase;
  }
  return options;
}

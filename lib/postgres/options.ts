/**
 * What `connect` is to do: options, the DSN, PG* variables, service and password files.
 *
 * In: what the user gave, and the environment. Out: a plan with every question answered. Never: a
 * connection; a password in an error.
 */
import { isIP } from 'node:net';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import { type Awaitable, argTypeError } from '../base/errors.ts';
import { checkInteger, checkMs } from '../base/units.ts';
import type { TlsClientOptions } from '../io/net-types.ts';
import { InterfaceError } from './errors.ts';
import { readPassword, readService, readTlsFiles } from './files.ts';
import type { ConnectOptions } from './types.ts';

export interface Address {
  /** A folder of UNIX sockets when it begins with '/'. */
  readonly host: string;
  readonly port: number;
  /** Where that host is, so that its name is not looked up (libpq: hostaddr). */
  readonly ip?: string;
}

export type TlsMode = 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';

export interface ConnectPlan {
  readonly addresses: readonly Address[];
  readonly user: string;
  readonly database: string;
  readonly password: (address: Address) => Awaitable<string | undefined>;
  readonly tls: TlsMode;
  readonly tlsOptions: TlsClientOptions;
  readonly directTls: boolean;
  /** Whether SCRAM is bound to TLS. */
  readonly channelBinding: 'disable' | 'prefer' | 'require';
  /** Idle time before TCP asks whether the server is there. 0: the system's; null: never. */
  readonly keepAliveMs: number | null;
  readonly timeoutMs: number;
  readonly commandTimeoutMs: number;
  readonly statementCacheSize: number;
  readonly statementCacheLifetimeMs: number;
  readonly maxCacheableStatementBytes: number;
  readonly serverSettings: Readonly<Record<string, string>>;
  readonly targetSession: NonNullable<ConnectOptions['targetSession']>;
  readonly int8: NonNullable<ConnectOptions['int8']>;
  readonly dates: NonNullable<ConnectOptions['dates']>;
}

/** Settings by libpq's names, from the first source that has them. */
type Settings = ReadonlyMap<string, string>;

const environment: Readonly<Record<string, string>> = {
  host: 'PGHOST',
  hostaddr: 'PGHOSTADDR',
  port: 'PGPORT',
  user: 'PGUSER',
  password: 'PGPASSWORD',
  passfile: 'PGPASSFILE',
  dbname: 'PGDATABASE',
  sslmode: 'PGSSLMODE',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  sslpassword: 'PGSSLPASSWORD',
  sslnegotiation: 'PGSSLNEGOTIATION',
  channel_binding: 'PGCHANNELBINDING',
  target_session_attrs: 'PGTARGETSESSIONATTRS',
  application_name: 'PGAPPNAME',
  options: 'PGOPTIONS',
  connect_timeout: 'PGCONNECT_TIMEOUT',
};

function fromEnvironment(): Settings {
  const found = new Map<string, string>();
  for (const [name, variable] of Object.entries(environment)) {
    const value = process.env[variable];
    if (value !== undefined && value !== '') found.set(name, value);
  }
  return found;
}

const aliases: Readonly<Record<string, string>> = { database: 'dbname', ssl: 'sslmode' };

/** `ssl=true`, as in URLs of JDBC: libpq reads it so. */
const sslWords: Readonly<Record<string, string>> = {
  true: 'require',
  '1': 'require',
  false: 'disable',
  '0': 'disable',
};

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new InterfaceError('The DSN has a malformed %-escape');
  }
}

/** `user:password@host1:1,host2:2` of a DSN; URL cannot read several hosts. */
function readAuthority(authority: string, into: Map<string, string>): void {
  const at = authority.lastIndexOf('@');
  if (at >= 0) {
    const credentials = authority.slice(0, at);
    const colon = credentials.indexOf(':');
    const user = colon < 0 ? credentials : credentials.slice(0, colon);
    if (user !== '') into.set('user', decode(user));
    if (colon >= 0) into.set('password', decode(credentials.slice(colon + 1)));
  }
  const hosts: string[] = [];
  const ports: string[] = [];
  for (const part of authority.slice(at + 1).split(',')) {
    const [, v6, name, port] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d*))?$/.exec(part) ?? [];
    if (v6 === undefined && name === undefined) throw new InterfaceError('The DSN has a bad host');
    hosts.push(decode(v6 ?? name ?? ''));
    ports.push(port ?? '');
  }
  if (hosts.some((host) => host !== '')) into.set('host', hosts.join(','));
  if (ports.some((port) => port !== '')) into.set('port', ports.join(','));
}

/** postgres://user:password@host:port/database?option=value */
export function parseDsn(dsn: string): Map<string, string> {
  const found = new Map<string, string>();
  const [, rest] = /^postgres(?:ql)?:\/\/(.*)$/s.exec(dsn) ?? [];
  if (rest === undefined) {
    throw new InterfaceError("A DSN begins with 'postgres://' or 'postgresql://'");
  }
  const mark = rest.indexOf('?');
  const main = mark < 0 ? rest : rest.slice(0, mark);
  const slash = main.indexOf('/');
  readAuthority(slash < 0 ? main : main.slice(0, slash), found);
  if (slash >= 0 && slash < main.length - 1) found.set('dbname', decode(main.slice(slash + 1)));
  for (const pair of mark < 0 ? [] : rest.slice(mark + 1).split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const key = decode(equals < 0 ? pair : pair.slice(0, equals));
    const value = equals < 0 ? '' : decode(pair.slice(equals + 1).replaceAll('+', ' '));
    found.set(aliases[key] ?? key, (key === 'ssl' && sslWords[value]) || value);
  }
  return found;
}

/** What is no option of the client is a setting of the session. */
const ownSettings = ['service', 'gssencmode', 'keepalives', 'keepalives_idle'];
const clientSettings = new Set([...Object.keys(environment), ...ownSettings]);
// Of libpq, and of no meaning here. Those that restrict it (requirepeer …) the server refuses.
for (const name of ['keepalives_interval', 'keepalives_count']) {
  clientSettings.add(name);
}
for (const name of ['tcp_user_timeout', 'sslcompression', 'sslsni', 'krbsrvname', 'gsslib']) {
  clientSettings.add(name);
}
clientSettings.add('fallback_application_name');
clientSettings.delete('application_name');
clientSettings.delete('options');

function listOf<T>(value: T | readonly T[]): readonly T[] {
  return Array.isArray(value) ? (value as readonly T[]) : [value as T];
}

function defaultHosts(): string[] {
  return process.platform === 'win32'
    ? ['localhost']
    : ['/var/run/postgresql', '/tmp', 'localhost'];
}

/** Those of a DSN or the environment: of hosts that the options name, nothing is known. */
function ipsOf(options: ConnectOptions, settings: Settings): readonly string[] | undefined {
  const ips = options.host === undefined ? settings.get('hostaddr')?.split(',') : undefined;
  const wrong = ips?.find((ip) => ip !== '' && isIP(ip) === 0);
  if (wrong !== undefined) throw new InterfaceError(`hostaddr: '${wrong}' is no IP address`);
  return ips;
}

function addressesOf(options: ConnectOptions, settings: Settings): Address[] {
  const ips = ipsOf(options, settings);
  const named = options.host ?? settings.get('host')?.split(',') ?? ips;
  const hosts = named === undefined ? defaultHosts() : listOf(named);
  if (ips !== undefined && ips.length !== hosts.length) {
    throw new InterfaceError(`${ips.length} addresses (hostaddr) for ${hosts.length} hosts`);
  }
  const given = options.port ?? settings.get('port')?.split(',') ?? 5432;
  const ports = listOf<number | string>(given).map((port) => (port === '' ? 5432 : Number(port)));
  if (hosts.length === 0) throw new InterfaceError('The list of hosts is empty');
  if (ports.length !== 1 && ports.length !== hosts.length) {
    throw new InterfaceError(`${ports.length} ports for ${hosts.length} hosts`);
  }
  return hosts.map((host, i) => {
    if (typeof host !== 'string') throw argTypeError('host', 'a string or strings', host);
    const port = checkInteger('port', ports[i] ?? ports[0], 1, 65_535);
    const ip = ips?.[i] ?? '';
    const name = host === '' ? ip || 'localhost' : host;
    return ip === '' || ip === name ? { host: name, port } : { host: name, port, ip };
  });
}

type TlsPart = Pick<ConnectPlan, 'tls' | 'tlsOptions' | 'directTls'>;

const tlsModes: readonly string[] = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full'];

function tlsOf(options: ConnectOptions, settings: Settings): TlsPart {
  const direct = options.directTls ?? settings.get('sslnegotiation') === 'direct';
  // As libpq: who names the authorities of the system wants a certificate of theirs, and by name.
  const system = settings.get('sslrootcert') === 'system';
  const usual = system ? 'verify-full' : direct ? 'require' : 'prefer';
  const given = options.tls ?? settings.get('sslmode') ?? usual;
  if (typeof given === 'object') {
    return { tls: 'verify-full', tlsOptions: given, directTls: direct };
  }
  // libpq's 'allow' tries without first, which helps nobody.
  const mode = given === 'allow' ? 'prefer' : given;
  if (!tlsModes.includes(mode)) throw new InterfaceError(`Unknown tls mode '${mode}'`);
  if (direct && (mode === 'disable' || mode === 'prefer')) {
    throw new InterfaceError(`directTls needs tls 'require' or more, not '${mode}'`);
  }
  if (mode === 'disable') return { tls: mode, tlsOptions: {}, directTls: direct };
  if (system && mode !== 'verify-full') {
    throw new InterfaceError(`sslrootcert=system needs tls 'verify-full', not '${mode}'`);
  }
  const files = readTlsFiles(settings);
  // As libpq: with a list of authorities to trust, 'require' checks the certificate, too.
  const checked = mode === 'require' && files.ca !== undefined ? 'verify-ca' : mode;
  return { tls: checked as TlsMode, tlsOptions: files, directTls: direct };
}

const targets = ['any', 'primary', 'standby', 'read-write', 'read-only', 'prefer-standby'];

function choice<T extends string>(name: string, value: string, allowed: readonly string[]): T {
  if (allowed.includes(value)) return value as T;
  throw new InterfaceError(`${name} must be one of ${allowed.join(', ')}, not '${value}'`);
}

/** A name of the only encoding that this client speaks. */
export function isUtf8(encoding: string): boolean {
  return /^(utf-?8|unicode)$/i.test(encoding);
}

function sessionSettings(options: ConnectOptions, settings: Settings): Record<string, string> {
  const found: Record<string, string> = {};
  const fallback = settings.get('fallback_application_name');
  if (fallback !== undefined) found['application_name'] = fallback;
  for (const [name, value] of settings) if (!clientSettings.has(name)) found[name] = value;
  for (const [name, value] of Object.entries(options.serverSettings ?? {})) {
    found[name] = String(value);
  }
  // libpq's word for the encoding of the terminal.
  if (found['client_encoding'] === 'auto') delete found['client_encoding'];
  for (const [name, value] of Object.entries(found)) {
    if (name.toLowerCase() === 'client_encoding' && !isUtf8(value)) {
      throw new InterfaceError(`client_encoding is UTF8 always, and cannot be ${value}`);
    }
    if (`${name}${value}`.includes('\0')) throw new InterfaceError(`${name} has a NUL`);
  }
  return found;
}

/** The first source that names a thing counts: options, DSN, service, environment. */
function gather(options: ConnectOptions): Settings {
  const dsn = options.dsn === undefined ? new Map<string, string>() : parseDsn(options.dsn);
  const service = options.service ?? dsn.get('service') ?? process.env['PGSERVICE'];
  const all = new Map(fromEnvironment());
  if (service !== undefined && service !== '') {
    for (const [name, value] of readService(service)) all.set(name, value);
  }
  for (const [name, value] of dsn) all.set(name, value);
  return all;
}

function checkNul(name: string, value: string): string {
  if (value.includes('\0')) throw new InterfaceError(`${name} has a NUL`);
  return value;
}

function passwordOf(
  given: ConnectOptions['password'],
  byFile: (address: Address) => string | undefined,
): ConnectPlan['password'] {
  if (typeof given === 'function') {
    return async () => {
      const password: unknown = await given();
      if (typeof password === 'string' || password === undefined) return password;
      throw argTypeError('password()', 'a string', password);
    };
  }
  if (given === undefined || given === null) return byFile;
  if (typeof given !== 'string') throw argTypeError('password', 'a string or a function', given);
  return () => given;
}

function wholeNumber(name: string, text: string): number {
  if (/^\s*[+-]?\d{1,9}\s*$/.test(text)) return Number(text);
  throw new InterfaceError(`${name}: '${text}' is no whole number`);
}

/** In milliseconds. As libpq: whole seconds, and none for 0 and less. */
function timeoutOf(seconds: string | undefined): number {
  if (seconds === undefined) return 60_000;
  const limit = wholeNumber('connect_timeout', seconds);
  return limit > 0 ? limit * 1000 : Infinity;
}

/** As libpq: on, after the system's time, unless told otherwise. */
function keepAliveOf(settings: Settings): number | null {
  const enabled = wholeNumber('keepalives', settings.get('keepalives') ?? '1');
  const idle = wholeNumber('keepalives_idle', settings.get('keepalives_idle') ?? '0');
  return enabled === 0 ? null : Math.max(idle, 0) * 1000;
}

/** @throws InterfaceError, TypeError, RangeError */
export function makePlan(given: string | ConnectOptions = {}): ConnectPlan {
  const options = typeof given === 'string' ? { dsn: given } : given;
  if (typeof options !== 'object' || options === null) {
    throw argTypeError('options', 'a DSN or an object', given);
  }
  const settings = gather(options);
  const user = checkNul('user', options.user ?? settings.get('user') ?? userInfo().username);
  const database = checkNul('database', options.database ?? settings.get('dbname') ?? user);
  const tls = tlsOf(options, settings);
  const { password = settings.get('password') } = options;
  const passfile = options.passfile ?? settings.get('passfile') ?? join(homedir(), '.pgpass');
  const target = options.targetSession ?? settings.get('target_session_attrs') ?? 'any';
  return {
    addresses: addressesOf(options, settings),
    user,
    database,
    password: passwordOf(password, (address) => readPassword(passfile, address, database, user)),
    ...tls,
    channelBinding: choice('channel_binding', settings.get('channel_binding') ?? 'prefer', [
      'disable',
      'prefer',
      'require',
    ]),
    keepAliveMs: keepAliveOf(settings),
    timeoutMs: checkMs(
      'timeoutMs',
      options.timeoutMs ?? timeoutOf(settings.get('connect_timeout')),
    ),
    commandTimeoutMs: checkMs('commandTimeoutMs', options.commandTimeoutMs ?? Infinity),
    statementCacheSize: checkInteger('statementCacheSize', options.statementCacheSize ?? 100),
    statementCacheLifetimeMs: checkMs(
      'statementCacheLifetimeMs',
      options.statementCacheLifetimeMs ?? 300_000,
    ),
    maxCacheableStatementBytes: checkInteger(
      'maxCacheableStatementBytes',
      options.maxCacheableStatementBytes ?? 15 * 1024,
    ),
    serverSettings: sessionSettings(options, settings),
    targetSession: choice('targetSession', target, targets),
    int8: choice('int8', options.int8 ?? 'bigint', ['bigint', 'number', 'string']),
    dates: choice('dates', options.dates ?? 'date', ['date', 'string']),
  };
}

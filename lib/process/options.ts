/**
 * What a subprocess is started with.
 *
 * In: the caller's arguments. Out: one checked plan. Never: a process; a value that Node would only
 * refuse after something was opened.
 */
import { argTypeError, type WaitOptions } from '../base/errors.ts';
import { checkInteger, checkMs } from '../base/units.ts';

/** A pipe to this process, its own stream, nothing (/dev/null), or an open file descriptor. */
export type StdioSource = 'pipe' | 'inherit' | 'ignore' | number;

export interface SubprocessOptions extends WaitOptions {
  /** Default 'inherit'. */
  stdin?: StdioSource;
  stdout?: StdioSource;
  /** 'stdout' joins both: one pipe, so that the order of what is written is kept. */
  stderr?: StdioSource | 'stdout';
  cwd?: string;
  /** The whole environment. Default: that of this process. */
  env?: NodeJS.ProcessEnv;
  /**
   * After a cancelled task's SIGTERM, SIGKILL follows after this long. Default 5000.
   * 0: SIGKILL at once; Infinity: never.
   */
  killAfterMs?: number;
}

const defaultKillAfterMs = 5_000;
const maxFd = 2 ** 31 - 1;

/** Checked. */
export interface SpawnPlan {
  /** The program, or the shell's command. */
  readonly program: string;
  readonly args: readonly string[];
  readonly shell: boolean;
  readonly cwd: string | undefined;
  readonly env: NodeJS.ProcessEnv | undefined;
  readonly stdio: readonly [StdioSource, StdioSource, StdioSource];
  /** Standard output and error are one pipe. */
  readonly joined: boolean;
  readonly killAfterMs: number;
}

function checkText(name: string, value: unknown): string {
  if (typeof value === 'string' && !value.includes('\0')) return value;
  throw argTypeError(name, 'a string without null bytes', value);
}

function checkSource(name: string, value: unknown): StdioSource {
  if (value === undefined) return 'inherit';
  if (value === 'pipe' || value === 'inherit' || value === 'ignore') return value;
  if (typeof value === 'number') return checkInteger(name, value, 0, maxFd);
  throw argTypeError(name, "'pipe', 'inherit', 'ignore' or a file descriptor", value);
}

/** What standard error is when it follows standard output. */
function follow(stdout: StdioSource): StdioSource {
  return stdout === 'inherit' ? 1 : stdout;
}

function plan(
  program: string,
  args: readonly string[],
  shell: boolean,
  options: SubprocessOptions,
): SpawnPlan {
  if (typeof options !== 'object' || options === null) {
    throw argTypeError('options', 'an object', options);
  }
  const { cwd, env } = options;
  const stdin = checkSource('stdin', options.stdin);
  const stdout = checkSource('stdout', options.stdout);
  const together = options.stderr === 'stdout';
  const stderr = together ? follow(stdout) : checkSource('stderr', options.stderr);
  if (env !== undefined && (typeof env !== 'object' || env === null)) {
    throw argTypeError('env', 'an object', env);
  }
  return {
    program,
    args,
    shell,
    cwd: cwd === undefined ? undefined : checkText('cwd', cwd),
    env,
    stdio: [stdin, stdout, stderr],
    joined: together && stdout === 'pipe',
    killAfterMs: checkMs('killAfterMs', options.killAfterMs ?? defaultKillAfterMs),
  };
}

/** @throws TypeError, RangeError */
export function planExec(
  program: string,
  args: readonly string[],
  options: SubprocessOptions,
): SpawnPlan {
  if (checkText('program', program) === '') {
    throw argTypeError('program', 'a string that is not empty', program);
  }
  if (!Array.isArray(args)) throw argTypeError('args', 'an array of strings', args);
  const checked = args.map((arg: unknown, index) => checkText(`args[${index}]`, arg));
  return plan(program, checked, false, options);
}

/** @throws TypeError for what is not an array of at least one string */
export function planCommand(
  command: readonly [program: string, ...args: string[]],
  options: SubprocessOptions,
): SpawnPlan {
  if (!Array.isArray(command) || command.length === 0) {
    throw argTypeError('command', 'an array of a program and its arguments', command);
  }
  return planExec(command[0], command.slice(1), options);
}

/** @throws TypeError, RangeError */
export function planShell(command: string, options: SubprocessOptions): SpawnPlan {
  if (checkText('command', command) === '') {
    throw argTypeError('command', 'a string that is not empty', command);
  }
  return plan(command, [], true, options);
}

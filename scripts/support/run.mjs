// Starts programs. Paths are given from the root of the repository.
import { spawn } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/**
 * Runs a program to its end. Never rejects: a program that could not start has code 127.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, show?: boolean,
 *   onLine?: (line: string) => void, timeoutMs?: number }} [options]
 *   show: output goes to the terminal and is not collected.
 * @returns {Promise<{ code: number, output: string }>} output: stdout and stderr, as they came
 */
export function run(command, args, options = {}) {
  const stdio = options.show ? 'inherit' : ['ignore', 'pipe', 'pipe'];
  const child = spawn(command, args, {
    cwd: options.cwd ?? root,
    env: options.env ?? process.env,
    stdio,
    timeout: options.timeoutMs,
    killSignal: 'SIGKILL',
  });
  let output = '';
  const take = (chunk) => {
    output += chunk;
    const line = String(chunk).trimEnd().split('\n').at(-1);
    if (line && options.onLine) options.onLine(line);
  };
  child.stdout?.setEncoding('utf8').on('data', take);
  child.stderr?.setEncoding('utf8').on('data', take);
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ code: 127, output: `${output}${error.message}\n` }));
    child.on('close', (code, signal) => {
      if (signal) output += `(ended by ${signal})\n`;
      resolve({ code: code ?? 1, output });
    });
  });
}

/** The file that a command name stands for, or null. */
export function which(name, path = process.env.PATH ?? '') {
  for (const folder of path.split(delimiter)) {
    if (folder && existsSync(join(folder, name))) return join(folder, name);
  }
  return null;
}

/** npm's own script, so that it can be run by the Node that runs us. */
export function npmScript() {
  const fromNpm = process.env.npm_execpath;
  if (fromNpm?.endsWith('.js') && existsSync(fromNpm)) return fromNpm;
  const npm = which('npm');
  return npm ? realpathSync(npm) : null;
}

export function runNpm(args, options) {
  const script = npmScript();
  if (!script) return Promise.resolve({ code: 127, output: 'npm was not found\n' });
  return run(process.execPath, [script, ...args], options);
}

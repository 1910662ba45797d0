// One measurement of the demo: a server process on core 0, a load process on core 1.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { StepError } from './progress.mjs';
import { root, which } from './run.mjs';

const OUTPUT = join(root, 'build/demo');
const CLIENT = join(root, 'scripts/support/demo-client.mjs');
const START_LIMIT_MS = 10_000;

/** Strips the types of examples/demo: Node 20 runs no TypeScript. */
export async function compileExamples() {
  const typescript = join(root, 'node_modules/typescript/lib/typescript.js');
  const { default: ts } = await import(pathToFileURL(typescript).href);
  const compilerOptions = {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    rewriteRelativeImportExtensions: true,
  };
  mkdirSync(OUTPUT, { recursive: true });
  const folder = join(root, 'examples/demo');
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.ts'))) {
    const source = readFileSync(join(folder, name), 'utf8');
    const { outputText } = ts.transpileModule(source, { compilerOptions });
    writeFileSync(join(OUTPUT, name.replace(/\.ts$/, '.js')), outputText);
  }
}

function pinned(core, command, args) {
  const pins = which('taskset') && availableParallelism() > 1;
  return pins ? ['taskset', ['-c', String(core), command, ...args]] : [command, args];
}

function start(core, command, args, env) {
  const [program, words] = pinned(core, command, args);
  const child = spawn(program, words, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (chunk) => {
    errors += chunk;
  });
  return { child, lines: createInterface({ input: child.stdout }), errors: () => errors };
}

async function listening(server, name) {
  const signal = AbortSignal.timeout(START_LIMIT_MS);
  const ended = once(server.child, 'exit', { signal });
  const line = await Promise.race([once(server.lines, 'line', { signal }), ended]).catch(() => []);
  const port = /port (\d+)/.exec(String(line[0]))?.[1];
  ended.catch(() => {});
  if (!port) throw new StepError(`the server ${name} did not start`, server.errors());
  return Number(port);
}

/** Process CPU time in milliseconds; NaN where there is no /proc. */
function cpuMs(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10;
  } catch {
    return Number.NaN;
  }
}

/** The load generator of bench/: faster than any server here, so that the server is the limit. */
async function loadGenerator(binary, { port, seconds, connections, pid }, note) {
  const words = ['--port', port, '--connections', connections, '--size', 64];
  const args = [...words, '--seconds', seconds, '--watch', pid].map(String);
  const load = start(1, binary, args, process.env);
  const beganMs = performance.now();
  const bar = setInterval(() => {
    note(`under load: ${((performance.now() - beganMs) / 1000).toFixed(0)} s`);
  }, 250);
  let result = null;
  load.lines.on('line', (line) => {
    result = JSON.parse(line);
  });
  const [code] = await once(load.child, 'close');
  clearInterval(bar);
  if (code !== 0 || !result) throw new StepError('the load generator failed', load.errors());
  const { messagesPerSecond, latencyUs, serverCpuUsPerMessage } = result;
  return { messagesPerSecond, latencyUs, cpuUs: serverCpuUsPerMessage };
}

async function nodeClient(kind, { port, seconds, connections, pid }, note) {
  const options = JSON.stringify({ port, kind, connections, seconds });
  const load = start(1, process.execPath, [CLIENT, options], process.env);
  let beginMs = Number.NaN;
  let endMs = Number.NaN;
  let last = {};
  load.lines.on('line', (line) => {
    last = JSON.parse(line);
    if (last.begin) beginMs = cpuMs(pid);
    else endMs = cpuMs(pid);
    if (last.messagesPerSecond) note(`${Math.round(last.messagesPerSecond)} messages/s`);
  });
  const [code] = await once(load.child, 'close');
  if (code !== 0 || !last.done) throw new StepError('the load client failed', load.errors());
  const { messagesPerSecond, latencyUs, messages } = last;
  return { messagesPerSecond, latencyUs, cpuUs: ((endMs - beginMs) * 1000) / messages };
}

/**
 * @param {{ program: 'echo' | 'lines', loop: 'node:net' | 'pure' | 'native', seconds: number,
 *   connections: number, generator: string | null }} what
 * @param {(text: string) => void} note
 */
export async function measure({ program, loop, seconds, connections, generator }, note) {
  const file = loop === 'node:net' ? `${program}-net.js` : `${program}.js`;
  const env = { ...process.env, PORT: '0' };
  if (loop !== 'node:net') env.UVIO_POLICY = loop;
  const server = start(0, process.execPath, [join(OUTPUT, file)], env);
  try {
    const port = await listening(server, `${program} on ${loop}`);
    const load = { port, seconds, connections, pid: server.child.pid };
    if (program === 'echo' && generator) return await loadGenerator(generator, load, note);
    return await nodeClient(program, load, note);
  } finally {
    server.child.kill('SIGKILL');
  }
}

// Where the tools of the native build are.
import { existsSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { npmScript, which } from './run.mjs';

/** Exit code of a build that could not begin because a tool is missing. */
export const NO_COMPILER = 3;

/** The prefix of a Node installation with headers: this Node's own, else the system's. */
export function nodeDir() {
  const own = dirname(dirname(realpathSync(process.execPath)));
  for (const prefix of [own, '/usr']) {
    const include = join(prefix, 'include/node');
    const complete = ['uv.h', 'common.gypi'].every((name) => existsSync(join(include, name)));
    if (complete) return prefix;
  }
  return null;
}

/** Whether the addon for TLS can be built; binding.gyp looks in the same places. */
export function hasOpensslHeaders() {
  return [join(nodeDir() ?? '', 'include/node'), '/usr/include'].some((include) =>
    existsSync(join(include, 'openssl/ssl.h')),
  );
}

/** npm's bundled node-gyp. */
export function nodeGypScript() {
  const npm = npmScript();
  const script = npm && join(dirname(npm), '../node_modules/node-gyp/bin/node-gyp.js');
  return script && existsSync(script) ? script : null;
}

/** Names of what a node-gyp build lacks here; empty when it can begin. */
export function missingTools() {
  const missing = [];
  const compiler = process.env.CXX?.split(' ')[0] ?? 'g++';
  if (!which(compiler) && !which('c++') && !existsSync(compiler)) {
    missing.push(`a C++20 compiler (${compiler})`);
  }
  if (!which('make')) missing.push('make');
  if (!which('python3')) missing.push('python3');
  if (!nodeDir()) missing.push("Node's headers (include/node/uv.h beside this node, or in /usr)");
  if (!nodeGypScript()) missing.push("npm's bundled node-gyp");
  return missing;
}

/** node-gyp reads this name before npm's own setting; without it, it would download headers. */
export function nodeGypEnv() {
  return { ...process.env, npm_package_config_node_gyp_nodedir: nodeDir() ?? '' };
}

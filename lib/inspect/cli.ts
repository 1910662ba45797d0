#!/usr/bin/env node
/**
 * The program `uvio`.
 *
 * In: the command line. Out: text and an exit code. Never: imported; it runs when it is loaded.
 */
import { runCli } from './console-client.ts';

void runCli(process.argv.slice(2), process.stdout, process.stderr).then((code) => {
  process.exitCode = code;
});

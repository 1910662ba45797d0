// Makes prebuilds/<platform>-<arch>/native.<libc>.node and tls/native.<libc>.node, what a package
// carries for machines without a compiler.
import { makePrebuild } from './support/prebuild.mjs';
import { main, step } from './support/progress.mjs';

await main(() => step('prebuild', makePrebuild));

/**
 * Detaches an ArrayBuffer before any test. Until the first one V8 compiles code that leaves out the
 * question whether a buffer is detached, and gives that code up when one is. In a process that many
 * files share (Node 20) some such code was left over, in two of ten whole runs: `write()` took
 * a detached array for one of 4 bytes. Detaching before anything is compiled, none is.
 */
const { buffer } = new Uint8Array(8);
structuredClone(buffer, { transfer: [buffer] });

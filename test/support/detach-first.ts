/**
 * Detaches an ArrayBuffer before any test. Until the first one V8 compiles code that leaves out the
 * question whether a buffer is detached, and gives that code up when one is. In a process that many
 * files share (Node 20) some such code seemed to be left over: `write()` took a detached array for
 * one of 4 bytes. It still does now and then ('writing what is no data throws' of
 * test/io/transport.test.ts, though a buffer was detached first), so that is not all of the cause.
 */
const { buffer } = new Uint8Array(8);
structuredClone(buffer, { transfer: [buffer] });

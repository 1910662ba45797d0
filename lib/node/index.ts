/**
 * `uvio/node`: bridges from Node's streams and the Web's. The way back is `connection.toNode()` and
 * `connection.toWeb()`.
 *
 * In: the files of this room. Out: their public names. Never: anything else.
 */
export { fromNodeStream } from './from-node.ts';
export { fromWebStreams, readerFromWeb, writerFromWeb } from './from-web.ts';

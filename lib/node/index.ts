/**
 * `uvio/node`: bridges to Node's streams and servers, the Web's streams, and frameworks. The way
 * back of a stream is `connection.toNode()` and `connection.toWeb()`.
 *
 * In: the files of this room. Out: their public names. Never: anything else.
 */
export { fromNodeStream } from './from-node.ts';
export { fromWebStreams, readerFromWeb, writerFromWeb } from './from-web.ts';
export { fromRequestListener, type RequestListener, toRequestListener } from './http.ts';

/**
 * `uvio/node`: bridges to Node's streams and servers, the Web's streams, and frameworks.
 *
 * In: the files of this room. Out: their public names. Never: anything else.
 */
export { fromRequestListener, type RequestListener, toRequestListener } from './http.ts';

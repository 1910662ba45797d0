/**
 * `uvio/http`: HTTP servers and clients. Requests and responses have the read surface of the Web
 * platform's, plus what a server needs. Durations are in milliseconds, sizes in bytes.
 *
 * In: the files of this room. Out: their public names. Never: anything else.
 */

export type { TlsInfo } from '../io/net-types.ts';
export type { WorkerMetricsOptions } from '../io/workers/metrics.ts';
export {
  Application,
  type ApplicationOptions,
  type CleanupContext,
  type FetchHandler,
  type Handler,
  type Hook,
  type Middleware,
  type QueryInit,
  type RouteOptions,
} from './application.ts';
export { Connector, type ConnectorOptions } from './client/connector.ts';
export { CookieJar } from './client/cookie-jar.ts';
export { type OpenWebSocketOptions, openWebSocket } from './client/open-socket.ts';
export { ClientSession } from './client/session.ts';
export type { ClientSocketOptions } from './client/socket-handshake.ts';
export type {
  ClientAuth,
  ClientMiddleware,
  ClientRequest,
  ClientResponse,
  ClientRetryOptions,
  ClientTimeouts,
  ClientTrace,
  RequestDefaults,
  RequestOptions,
  ResponsePromise,
  SessionOptions,
} from './client/types.ts';
export {
  ClientConnectionError,
  ClientError,
  ClientPayloadError,
  ClientResponseError,
  ClientTimeoutError,
  InvalidUrlError,
  ServerDisconnectedError,
  TooManyRedirectsError,
  WebSocketHandshakeError,
} from './client-errors.ts';
export type { CookieOptions } from './cookies.ts';
export {
  type EventSink,
  type EventStreamInit,
  eventStream,
  type ServerSentEvent,
} from './events.ts';
export { type FileResponseInit, fileResponse } from './file-response.ts';
export type { HeadersInit } from './headers.ts';
export { HttpError, type HttpErrorOptions } from './http-error.ts';
export type { BodyPart } from './multipart.ts';
export { type NormalizePathOptions, normalizePath } from './normalize-path.ts';
export type { PathParams } from './path-params.ts';
export type { HttpRequest } from './request.ts';
export { type Body, Response, type ResponseInit, type ResponseLike } from './response.ts';
export {
  type RunAppOptions,
  runApp,
  type WorkerLoad,
  type WorkerMetrics,
  workerMetrics,
} from './run-app.ts';
export type { AccessRecord, FetchServeOptions, ServeOptions } from './serve-options.ts';
export { type HttpServer, type SiteOptions, serve } from './server.ts';
export { Key, type State } from './state.ts';
export type { StaticOptions } from './static.ts';
export type { WebSocketCallbacks } from './websocket/callbacks.ts';
export type { CompressOptions } from './websocket/extensions.ts';
export type { WebSocketOptions } from './websocket/options.ts';
export type { WebSocketConnection } from './websocket/types.ts';
export { upgradeWebSocket } from './websocket/upgrade.ts';

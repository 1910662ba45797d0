/**
 * `uvio/postgres`: a PostgreSQL client with asyncpg's words in camelCase.
 *
 * In: the files of this room. Out: their public names. Never: anything else.
 */
export type { Range } from './codecs/containers.ts';
export type {
  Box,
  Circle,
  Line,
  LineSegment,
  Path,
  Point,
  Polygon,
} from './codecs/geometry.ts';
export { connect } from './connection.ts';
export { InterfaceError, PostgresConnectionError, PostgresError } from './errors.ts';
export { createPool } from './pool.ts';
export type {
  Arguments,
  Connection,
  ConnectOptions,
  CopyOptions,
  CopyOutput,
  CopySource,
  Cursor,
  Executable,
  Interval,
  Notification,
  Pool,
  PooledConnection,
  PoolOptions,
  PreparedStatement,
  QueryOptions,
  QueryRecord,
  Row,
  StatementColumn,
  Transaction,
  TransactionOptions,
  TypeCodec,
} from './types.ts';

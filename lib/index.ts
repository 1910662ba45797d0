/**
 * `uvio`: the core. Durations and deadlines are in milliseconds; deadlines are on the clock of
 * `performance.now()`. Everything may be used outside `run()` too: it then works on the thread's
 * default loop, with no parent task that could cancel it.
 *
 * In: the rooms. Out: their public names. Never: anything else; nothing happens at import.
 */
import './task/loop-methods.ts';
import './io/loop-methods.ts';
import './io/fd-methods.ts';
import './process/loop-methods.ts';
import './threads/loop-methods.ts';

export {
  type Awaitable,
  BrokenBarrierError,
  BrokenResourceError,
  BusyResourceError,
  CancelledError,
  ClosedResourceError,
  type Data,
  EndOfChannel,
  ExceptionGroup,
  IncompleteReadError,
  InvalidStateError,
  isCancelled,
  LimitOverrunError,
  ProcessError,
  type ProcessResult,
  QueueEmpty,
  QueueFull,
  QueueShutDown,
  TimeoutError,
  type WaitOptions,
  WouldBlock,
} from './base/errors.ts';
export { type ActivatedSocket, systemdSockets } from './io/activation.ts';
export type { AcceptedSocketOptions } from './io/adopt.ts';
export { openConnection, openUnixConnection } from './io/connect.ts';
export { DnsCache, type DnsCacheOptions } from './io/dns-cache.ts';
export { lookup, lookupService } from './io/names.ts';
export type {
  ByteReader,
  ByteWriter,
  Connection,
  ConnectionHandler,
  ConnectOptions,
  Datagram,
  DatagramSettings,
  ListenOptions,
  LookupFunction,
  Server,
  SocketAddress,
  StartTlsOptions,
  StreamOptions,
  TlsClientOptions,
  TlsInfo,
  TlsServerOptions,
  TlsTimes,
  UdpOptions,
  UdpSocket,
  UnixConnectOptions,
  UnixListenOptions,
} from './io/net-types.ts';
export type {
  BaseProtocol,
  BaseTransport,
  BufferedProtocol,
  DatagramProtocol,
  DatagramTransport,
  Protocol,
  ReadTransport,
  StreamProtocol,
  Transport,
  WriteTransport,
} from './io/protocols.ts';
export { type MakeServer, type RunServerOptions, runServer } from './io/run-server.ts';
export type { SendfileOptions } from './io/sendfile.ts';
export { startServer, startUnixServer } from './io/start-server.ts';
export { openUdpSocket } from './io/udp-socket.ts';
export type { WorkerLoad, WorkerMetrics } from './io/workers/messages.ts';
export { type WorkerMetricsOptions, workerMetrics } from './io/workers/metrics.ts';
export type {
  EventLoop as Loop,
  ExceptionContext,
  Handle,
  Instrument,
  LoopMetrics,
  TimerHandle,
} from './loop/event-loop.ts';
export {
  getLoopPolicy,
  type LoopPolicy,
  type NativeInfo,
  type NativeOptions,
  native,
  nativeInfo,
  pure,
  setLoopPolicy,
} from './loop/policy.ts';
export type { StdioSource, SubprocessOptions } from './process/options.ts';
export {
  createSubprocessExec,
  createSubprocessShell,
  type Process,
} from './process/process.ts';
export type { SubprocessProtocol, SubprocessTransport } from './process/protocols.ts';
export { runProcess } from './process/run-process.ts';
export { openSignalReceiver } from './process/signal-receiver.ts';
export { Barrier } from './sync/barrier.ts';
export { CapacityLimiter } from './sync/capacity-limiter.ts';
export {
  type ChannelStatistics,
  openMemoryChannel,
  type ReceiveChannel,
  type SendChannel,
} from './sync/channel.ts';
export { Condition } from './sync/condition.ts';
export { Event } from './sync/event.ts';
export { Lock, type LockStatistics } from './sync/lock.ts';
export { ParkingLot } from './sync/parking-lot.ts';
export { PriorityQueue } from './sync/priority-queue.ts';
export { LifoQueue, Queue } from './sync/queue.ts';
export { RateLimiter } from './sync/rate-limiter.ts';
export { ResourceGuard } from './sync/resource-guard.ts';
export { safeChannel } from './sync/safe-channel.ts';
export { Semaphore } from './sync/semaphore.ts';
export {
  asCompleted,
  ensureFuture,
  type GatherOptions,
  gather,
  map,
  race,
  type Source,
  type SourceResult,
  shield,
  type WaitResult,
  wait,
  waitFor,
} from './task/combinators.ts';
export { Context, ContextVar, copyContext } from './task/context.ts';
export { type EveryOptions, every } from './task/every.ts';
export { Future, isFuture } from './task/future.ts';
export {
  openNursery,
  TaskGroup,
  type TaskGroupOptions,
  type TaskStatus,
  taskGroup,
} from './task/group.ts';
export { hedge } from './task/hedge.ts';
export { type RetryOptions, retry } from './task/retry.ts';
export { getEventLoop, getRunningLoop, Runner, type RunOptions, run } from './task/run.ts';
export {
  CancelScope,
  type CancelScopeOptions,
  currentEffectiveDeadline,
  moveOnAfter,
  moveOnAt,
  shielded,
  type Timeout,
  timeout,
  timeoutAt,
} from './task/scope.ts';
export { abortable, currentSignal } from './task/signal.ts';
export {
  checkpoint,
  currentTime,
  sleep,
  sleepForever,
  sleepUntil,
  throwIfCancelled,
} from './task/sleep.ts';
export {
  allTasks,
  type Coro,
  createTask,
  currentTask,
  spawn,
  Task,
  type TaskOptions,
} from './task/task.ts';
export {
  defaultThreadLimiter,
  runInExecutor,
  setDefaultExecutor,
  toProcess,
  toThread,
} from './threads/default-executor.ts';
export type { ThreadFunction } from './threads/sent-function.ts';
export { type Executor, type ExecutorOptions, ThreadPool } from './threads/thread-pool.ts';

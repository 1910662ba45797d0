// Owner: the JavaScript side allocates the memory; the hub keeps it alive through its host.
// Lifetime: from Hub::Map until the environment ends.
// Thread: the loop's thread only. JavaScript and C++ take turns, so there are no atomics.
// Re-entrancy: plain data; whoever runs may read and write.
#pragma once

#include <cstddef>
#include <cstdint>

namespace uvio {

// Control words (int32). lib/loop/native/layout.ts names the same indices.
enum Ctl : int {
  kCtlOutCount = 0,    // out records that wait for a flush
  kCtlOutPos = 1,      // bytes used in the out slab
  kCtlFlushEpoch = 2,  // +1 with every flush: JavaScript's pending counts of before are void
  kCtlNeedChunk = 3,   // bit 0: small chunk is used up, bit 1: bulk chunk
  kCtlSmallPos = 4,    // first free byte of the small chunk
  kCtlBulkPos = 5,     // first free byte of the bulk chunk
  kCtlStreams = 6,     // open streams, closing ones included
  kCtlListeners = 7,
  kCtlConnecting = 8,
  kCtlAddrPort = 9,    // out values of address()
  kCtlAddrFamily = 10, // 4, 6 or 1 for UNIX
  kCtlTimerRef = 11,   // wish of JavaScript: 1 = the armed timer keeps the process alive
  kCtlQueued = 12,     // bytes queued in all, in units of 1 KiB, rounded up
  kCtlDatagrams = 13,  // open datagram sockets, closing ones included
  kCtlWords = 64,
};

enum Record : int32_t {
  kRecData = 0,      // id, kind, offset in the small chunk, length
  kRecBulk = 1,      // id, kind, offset in the bulk chunk, length
  kRecReadable = 2,  // id, kind: read into the receiver's own memory now
  kRecAccept = 3,    // listener, kind, new stream
  kRecConnect = 4,   // id, kind, 0 or errno
  kRecEof = 5,
  kRecDrain = 6,
  kRecClosed = 7,    // id, kind, errno or 0, Syscall
  kRecAcceptError = 8,  // listener, kind, errno
  kRecReplay = 9,    // asked for with Hub::Replay
  kRecTimer = 10,    // no id: the armed deadline has come
  kRecDatagram = 11,      // id, kind, offset of a DatagramHead in the small chunk, bytes after it
  kRecDatagramBulk = 12,  // the same in the bulk chunk
  kRecError = 13,    // datagram socket: errno, Syscall; it goes on
  kRecWritable = 14,  // asked for with Hub::NotifyWritable
  kRecWatch = 20,    // no id: descriptor, kind, generation, Interest
};

enum Syscall : int32_t {
  kSysNone = 0,
  kSysRead = 1,
  kSysWrite = 2,
  kSysConnect = 3,
  kSysSend = 4,      // of a datagram
  kSysReceive = 5,
};

constexpr int kSlotBits = 18;
constexpr uint32_t kMaxSlots = 1u << kSlotBits;
constexpr uint32_t kSlotMask = kMaxSlots - 1;
constexpr uint32_t kMaxGeneration = 1u << (31 - kSlotBits);

constexpr int kMaxInRecords = 4096;
constexpr int kMaxOutRecords = 4096;
constexpr size_t kOutSlabBytes = 1 << 20;

constexpr size_t kDeadlineOffset = kCtlWords * 4;  // one double: ms on JavaScript's clock
constexpr size_t kInOffset = 1024;
constexpr size_t kOutOffset = kInOffset + kMaxInRecords * 16;
constexpr size_t kQueuedOffset = kOutOffset + kMaxOutRecords * 12;
constexpr size_t kSlabOffset = kQueuedOffset + kMaxSlots * 4;
constexpr size_t kSharedBytes = kSlabOffset + kOutSlabBytes;

// Read sizes. A small read leaves what it did not use to the next one.
constexpr size_t kSmallReadBytes = 64 << 10;
constexpr size_t kBulkReadBytes = 256 << 10;
constexpr size_t kMinSmallSpace = 8 << 10;
constexpr size_t kMinBulkSpace = 64 << 10;
constexpr size_t kBulkEnterBytes = 16 << 10;  // a read of that much turns bulk reading on

// After that many bytes JavaScript gets them, so that what it writes comes from a warm cache.
constexpr size_t kMaxBulkBytesPerRound = 128 << 10;

// Datagrams. The largest one is 65,527 bytes long (IPv6); one with its head fits a bulk chunk.
constexpr int kDatagramBatch = 32;               // datagrams in one system call
constexpr size_t kMaxDatagramBytes = 65535;
constexpr size_t kSmallDatagramBytes = 4 << 10;  // longer ones go to the bulk chunk
constexpr int64_t kMaxDatagramQueueBytes = 16 << 20;  // per socket; what is above is not sent
// One sendfile: what is not in the page cache keeps the thread waiting meanwhile.
constexpr size_t kMaxSendFile = 256 << 10;

// A peer that was accepted makes the kernel hold that much unsent, and twice as much each time that
// it has made room; after kDistrust times the kernel's own rule holds.
constexpr int kLeastUnsent = 128 << 10;
constexpr uint8_t kDistrust = 4;

constexpr int kMaxAcceptsPerTurn = 64;
constexpr int kMaxRoundsPerTurn = 16;
constexpr uint64_t kMaxTurnNs = 200000;  // no further poll after that long
constexpr int kAlwaysLucky = 1024;
constexpr int kLeastLuck = 160;    // below it only each kLooksPassed-th look is taken
constexpr int kLooksPassed = 16;
constexpr int64_t kMaxQueueBytes = int64_t{1} << 30;  // per stream; above it the stream fails
constexpr uint64_t kAcceptRetryMs = 100;
constexpr uint64_t kAcceptReportNs = 1000000000ull;

}  // namespace uvio

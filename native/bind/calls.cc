#include <cstring>
#include <string>
#include <vector>

#include "bind/addon.h"
#include "bind/define.h"

// Every call reads its arguments, asks the hub and returns an integer: a value >= 0 or a negative
// errno. JavaScript checks types before and makes errors after; a wrong type here gives -EINVAL.

namespace uvio {

namespace {

constexpr size_t kMaxArgs = 6;

// The arguments of one call.
struct Args {
  napi_env env;
  napi_value value[kMaxArgs];
  Addon* addon = nullptr;

  Args(napi_env e, napi_callback_info info) : env(e) {
    size_t count = kMaxArgs;
    void* data = nullptr;
    napi_get_cb_info(env, info, &count, value, nullptr, &data);
    addon = static_cast<Addon*>(data);
  }
  Hub* hub() const { return addon->hub(); }
  int32_t Int(int i) const {
    int32_t out = 0;
    napi_get_value_int32(env, value[i], &out);
    return out;
  }
  uint32_t Id(int i) const { return static_cast<uint32_t>(Int(i)); }
  bool Bool(int i) const { return Int(i) != 0; }
  std::string Text(int i) const {
    size_t length = 0;
    if (napi_get_value_string_utf8(env, value[i], nullptr, 0, &length) != napi_ok) return "";
    std::string text(length, '\0');
    napi_get_value_string_utf8(env, value[i], text.data(), length + 1, &length);
    return text;
  }
  bool Bytes(int i, uint8_t** data, size_t* length) const {
    void* at = nullptr;
    if (napi_get_typedarray_info(env, value[i], nullptr, length, &at, nullptr, nullptr) !=
        napi_ok) {
      return false;
    }
    *data = static_cast<uint8_t*>(at);
    return at != nullptr || *length == 0;
  }
  napi_value Return(int64_t result) const {
    napi_value out = nullptr;
    napi_create_int64(env, result, &out);
    return out;
  }
  napi_value ReturnInt(int32_t result) const {
    napi_value out = nullptr;
    napi_create_int32(env, result, &out);
    return out;
  }
};

napi_value Setup(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  double offset = 0;
  napi_get_value_double(env, args.value[2], &offset);
  return args.ReturnInt(args.addon->Setup(args.value[0], args.value[1], offset) == napi_ok
                            ? 0
                            : UV_EINVAL);
}

napi_value SetChunk(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.addon->SetChunk(args.Bool(0), args.value[1]) == napi_ok ? 0
                                                                                     : UV_EINVAL);
}

// Flags of listenTcp and listenUnix; lib/loop/native/layout.ts names the same bits.
ListenOptions Options(int backlog, int flags) {
  ListenOptions options;
  options.backlog = backlog;
  options.reuse_port = flags & 1;
  options.ipv6_only = flags & 2;
  options.no_delay = flags & 4;
  options.paused = flags & 8;
  options.duplicate = flags & 16;
  return options;
}

napi_value ListenTcp(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(
      args.hub()->ListenTcp(args.Text(0), args.Int(1), Options(args.Int(2), args.Int(3))));
}

napi_value ListenUnix(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->ListenUnix(args.Text(0), Options(args.Int(1), args.Int(2))));
}

napi_value ConnectTcp(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->ConnectTcp(args.Text(0), args.Int(1), args.Text(2),
                                               args.Int(3), args.Bool(4)));
}

napi_value ConnectUnix(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->ConnectUnix(args.Text(0)));
}

// openUdp(host, port, reusePort), connectUdp(id, host, port): connected after it.
napi_value OpenUdp(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->OpenUdp(args.Text(0), args.Int(1), args.Bool(2)));
}

napi_value ConnectUdp(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->ConnectUdp(args.Id(0), args.Text(1), args.Int(2)));
}

// setUdp(id, option, value, group, interface); lib/loop/native/layout.ts names the options.
napi_value SetUdp(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  const int option = args.Int(1);
  if (option < 0 || option > static_cast<int>(UdpOption::kDropMembership)) {
    return args.ReturnInt(UV_EINVAL);
  }
  return args.ReturnInt(args.hub()->SetUdpOption(args.Id(0), static_cast<UdpOption>(option),
                                                 args.Int(2), args.Text(3), args.Text(4)));
}

// parseIp(text, head): writes a DatagramHead without a port.
napi_value ParseHead(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  uint8_t* data = nullptr;
  size_t length = 0;
  if (!args.Bytes(1, &data, &length) || length < sizeof(DatagramHead)) {
    return args.ReturnInt(UV_EINVAL);
  }
  Address address;
  if (const int error = ParseIp(args.Text(0), 0, &address)) return args.ReturnInt(error);
  const DatagramHead head = ToHead(address.addr, address.len);
  memcpy(data, &head, sizeof(head));
  return args.ReturnInt(0);
}

// ipText(head): the address in a DatagramHead.
napi_value TextOfHead(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  uint8_t* data = nullptr;
  size_t length = 0;
  DatagramHead head{};
  if (args.Bytes(0, &data, &length) && length >= sizeof(head)) memcpy(&head, data, sizeof(head));
  const std::string text = HeadText(head);
  napi_value out = nullptr;
  napi_create_string_utf8(env, text.data(), text.size(), &out);
  return out;
}

napi_value Write(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  uint8_t* data = nullptr;
  size_t length = 0;
  if (!args.Bytes(1, &data, &length)) return args.ReturnInt(UV_EINVAL);
  return args.Return(args.hub()->Write(args.Id(0), data, length));
}

// writeMany(id, parts): as write, of Uint8Arrays that follow one another.
napi_value WriteMany(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  uint32_t length = 0;
  if (napi_get_array_length(env, args.value[1], &length) != napi_ok) {
    return args.ReturnInt(UV_EINVAL);
  }
  std::vector<iovec> parts;
  parts.reserve(length);
  for (uint32_t i = 0; i < length; i++) {
    napi_value part = nullptr;
    void* data = nullptr;
    size_t bytes = 0;
    napi_get_element(env, args.value[1], i, &part);
    if (napi_get_typedarray_info(env, part, nullptr, &bytes, &data, nullptr, nullptr) != napi_ok) {
      return args.ReturnInt(UV_EINVAL);
    }
    if (bytes > 0) parts.push_back({data, bytes});
  }
  return args.Return(
      args.hub()->WriteMany(args.Id(0), parts.data(), static_cast<int>(parts.size())));
}

// receive(id, into): bytes, 0 at the end, negative errno.
napi_value Receive(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  uint8_t* data = nullptr;
  size_t length = 0;
  if (!args.Bytes(1, &data, &length) || length == 0) return args.ReturnInt(UV_EINVAL);
  return args.Return(args.hub()->Receive(args.Id(0), data, length));
}

napi_value Flush(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  args.hub()->Flush();
  return nullptr;
}

napi_value Shutdown(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->Shutdown(args.Id(0)));
}

napi_value Close(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->Close(args.Id(0)));
}

napi_value Abort(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->Abort(args.Id(0)));
}

napi_value SetReading(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->SetReading(args.Id(0), args.Bool(1)));
}

napi_value SetInto(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->SetInto(args.Id(0), args.Bool(1)));
}

napi_value NotifyDrain(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->NotifyDrain(args.Id(0), args.Int(1)));
}

napi_value Replay(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->Replay(args.Id(0)));
}

napi_value SetNoDelay(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->SetNoDelay(args.Id(0), args.Bool(1)));
}

napi_value SetLeastRead(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->SetLeastRead(args.Id(0), args.Int(1)));
}

napi_value SetKeepAlive(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->SetKeepAlive(args.Id(0), args.Bool(1), args.Int(2)));
}

napi_value Reference(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->Reference(args.Id(0), args.Bool(1)));
}

napi_value Descriptor(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->Descriptor(args.Id(0)));
}

// address(id, which): the text, or a negative errno; port and family in the control words.
// 0: the local one, 1: the peer's, 2: that of the last datagram that could not be sent.
napi_value AddressOf(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  std::string text;
  const int which = args.Int(1);
  const int error = which == 2 ? args.hub()->FailedAddress(args.Id(0), &text)
                               : args.hub()->AddressOf(args.Id(0), which == 1, &text);
  if (error != 0) return args.ReturnInt(error);
  napi_value out = nullptr;
  napi_create_string_utf8(env, text.data(), text.size(), &out);
  return out;
}

napi_value TimerRef(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  args.hub()->TimerReference(args.Bool(0));
  return nullptr;
}

napi_value SetSpin(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  args.hub()->SetSpin(static_cast<uint64_t>(args.Int(0)));
  return nullptr;
}

napi_value AdoptSocket(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->AdoptSocket(args.Int(0), args.Bool(1)));
}

napi_value AdoptPipe(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->AdoptPipe(args.Int(0), args.Bool(1)));
}

napi_value ListenFd(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->ListenFd(args.Int(0), Options(0, args.Int(1))));
}

// sendFile(id, fd, offset, count): bytes, 0 at the file's end, negative errno.
napi_value SendFile(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  int64_t offset = 0;
  int64_t count = 0;
  napi_get_value_int64(env, args.value[2], &offset);
  napi_get_value_int64(env, args.value[3], &count);
  if (offset < 0 || count < 0) return args.ReturnInt(UV_EINVAL);
  const auto bytes = static_cast<size_t>(count);
  return args.Return(args.hub()->SendFile(args.Id(0), args.Int(1), offset, bytes));
}

napi_value NotifyWritable(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->NotifyWritable(args.Id(0)));
}

napi_value Watch(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.ReturnInt(args.hub()->Watch(args.Int(0), static_cast<uint8_t>(args.Int(1))));
}

// uvHrtime(): milliseconds on the clock of the deadline timer.
napi_value Now(napi_env env, napi_callback_info) {
  napi_value out = nullptr;
  napi_create_double(env, static_cast<double>(uv_hrtime()) / 1e6, &out);
  return out;
}

napi_value UvVersion(napi_env env, napi_callback_info) {
  napi_value out = nullptr;
  napi_create_string_utf8(env, uv_version_string(), NAPI_AUTO_LENGTH, &out);
  return out;
}

constexpr Call kCalls[] = {
    {"setup", Setup},           {"setChunk", SetChunk},         {"listenTcp", ListenTcp},
    {"listenUnix", ListenUnix}, {"connectTcp", ConnectTcp},     {"connectUnix", ConnectUnix},
    {"write", Write},           {"writeMany", WriteMany},       {"receive", Receive},
    {"flush", Flush},
    {"shutdown", Shutdown},     {"close", Close},               {"abort", Abort},
    {"setReading", SetReading}, {"setInto", SetInto},           {"notifyDrain", NotifyDrain},
    {"replay", Replay},         {"setNoDelay", SetNoDelay},     {"setKeepAlive", SetKeepAlive},
    {"reference", Reference},   {"descriptor", Descriptor},     {"address", AddressOf},
    {"timerRef", TimerRef},     {"setSpin", SetSpin},           {"now", Now},
    {"uvVersion", UvVersion},   {"openUdp", OpenUdp},           {"connectUdp", ConnectUdp},
    {"setUdp", SetUdp},         {"parseIp", ParseHead},         {"ipText", TextOfHead},
    {"adoptSocket", AdoptSocket}, {"adoptPipe", AdoptPipe},     {"listenFd", ListenFd},
    {"sendFile", SendFile},     {"notifyWritable", NotifyWritable}, {"watch", Watch},
    {"setLeastRead", SetLeastRead},
};

// Sizes and offsets of the shared memory, in the order that lib/loop/native/layout.ts reads.
constexpr int64_t kLayout[] = {
    kSharedBytes,   kDeadlineOffset, kInOffset,     kOutOffset,     kQueuedOffset, kSlabOffset,
    kOutSlabBytes,  kMaxInRecords,   kMaxOutRecords, kSlotBits,      kMinSmallSpace, kMinBulkSpace,
};

}  // namespace

napi_status DefineCalls(napi_env env, napi_value exports, Addon* addon) {
  napi_value layout;
  napi_status status = DefineAll(env, exports, addon, kCalls);
  if (status == napi_ok) status = napi_create_array(env, &layout);
  uint32_t index = 0;
  for (const int64_t word : kLayout) {
    napi_value value;
    if (status == napi_ok) status = napi_create_int64(env, word, &value);
    if (status == napi_ok) status = napi_set_element(env, layout, index++, value);
  }
  if (status == napi_ok) status = napi_set_named_property(env, exports, "layout", layout);
  return status;
}

}  // namespace uvio

/** Memory channels, with the behaviours of trio's test_channel and anyio's test_memory. */
import { describe, expect, test } from 'vitest';
import {
  BrokenResourceError,
  CancelledError,
  ClosedResourceError,
  EndOfChannel,
  WouldBlock,
} from '../../lib/base/errors.ts';
import {
  openMemoryChannel,
  type ReceiveChannel,
  type SendChannel,
} from '../../lib/sync/channel.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { openNursery, taskGroup } from '../../lib/task/group.ts';
import { CancelScope, moveOnAfter } from '../../lib/task/scope.ts';
import { createTask } from '../../lib/task/task.ts';
import { checkLeaks } from '../support/leaks.ts';
import { failure, runTest, virtualTest } from '../task/support.ts';
import { begun, idle, thrown } from './support.ts';

async function collect<T>(channel: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of channel) items.push(item);
  return items;
}

/** `send` and `sendNowait` fail with this. */
async function expectNoSend(send: SendChannel<number>, errorClass: unknown): Promise<void> {
  expect(await failure(send.send(9))).toBeInstanceOf(errorClass);
  expect(thrown(() => send.sendNowait(9))).toBeInstanceOf(errorClass);
}

async function expectNoReceive(receive: ReceiveChannel<number>, errorClass: unknown) {
  expect(await failure(receive.receive())).toBeInstanceOf(errorClass);
  expect(thrown(() => receive.receiveNowait())).toBeInstanceOf(errorClass);
}

// covers: trio/open-memory-channel, trio/closedresourceerror
describe('a memory channel', () => {
  // trio: test_channel; anyio: test_send_nowait_then_receive_nowait, test_receive_after_send_closed
  runTest('keeps up to its capacity, in order, until it is closed and empty', async () => {
    const [send, receive] = openMemoryChannel<number>(2);
    send.sendNowait(1);
    await send.send(2);
    expect(thrown(() => send.sendNowait(3))).toBeInstanceOf(WouldBlock);
    expect([await receive.receive(), receive.receiveNowait()]).toEqual([1, 2]);
    expect(thrown(() => receive.receiveNowait())).toBeInstanceOf(WouldBlock);
    send.sendNowait(4);
    send.close();
    await expectNoSend(send, ClosedResourceError);
    expect(thrown(() => send.clone())).toBeInstanceOf(ClosedResourceError);
    send.close();
    expect(receive.receiveNowait()).toBe(4);
    await expectNoReceive(receive, EndOfChannel);
    receive.close();
    await expectNoReceive(receive, ClosedResourceError);
    receive.close();
  });

  // trio: test_553
  virtualTest('forgets a receive whose time is up', async () => {
    const [send, receive] = openMemoryChannel<string>(1);
    expect(await moveOnAfter(10, () => receive.receive())).toBeUndefined();
    await send.send('x');
    expect(send.statistics()).toMatchObject({ buffered: 1, waitingReceivers: 0 });
  });

  // trio: test_channel_multiple_producers
  runTest('ends when the last of many producers has closed its clone', async () => {
    const [send, receive] = openMemoryChannel<number>(0);
    await openNursery(async (nursery) => {
      for (let i = 0; i < 10; i++) {
        nursery.startSoon(async (own: SendChannel<number>) => {
          await using _ = own;
          for (let j = 3 * i; j < 3 * (i + 1); j++) await own.send(j);
        }, send.clone());
      }
      send.close();
      const got = await collect(receive);
      expect(got.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, i) => i));
    });
  });

  // trio: test_channel_multiple_consumers
  runTest('shares its items among many consumers', async () => {
    const [send, receive] = openMemoryChannel<number>(1);
    const consumers = new Set<number>();
    const got: number[] = [];
    await openNursery(async (nursery) => {
      for (let i = 0; i < 5; i++) {
        nursery.startSoon(async () => {
          for await (const item of receive) {
            consumers.add(i);
            got.push(item);
          }
        });
      }
      await idle();
      for (let i = 0; i < 10; i++) await send.send(i);
      send.close();
    });
    expect([consumers.size, got]).toEqual([5, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]);
  });

  // trio: test_inf_capacity
  runTest('of infinite capacity never makes a send wait', async () => {
    const [send, receive] = openMemoryChannel<number>(Infinity);
    for (let i = 0; i < 5000; i++) send.sendNowait(i);
    await send.send(5000);
    send.close();
    expect((await collect(receive)).length).toBe(5001);
    expect(receive.statistics().capacity).toBe(Infinity);
  });

  // trio: test_channel_fairness
  runTest('lets nobody overtake those who wait', async () => {
    const [send, receive] = openMemoryChannel<number>(1);
    send.sendNowait(1);
    expect(receive.receiveNowait()).toBe(1);
    const getter = begun(() => receive.receive());
    send.sendNowait(2);
    expect(thrown(() => receive.receiveNowait())).toBeInstanceOf(WouldBlock);
    expect(await getter).toBe(2);
    send.sendNowait(3);
    const sender = begun(() => send.send(4));
    expect(receive.receiveNowait()).toBe(3);
    expect(thrown(() => send.sendNowait(5))).toBeInstanceOf(WouldBlock);
    expect(await receive.receive()).toBe(4);
    await sender;
  });

  // anyio: test_iterate
  runTest('can be iterated; a loop that is left early closes nothing', async () => {
    const [send, receive] = openMemoryChannel<number>(5);
    for (let i = 0; i < 5; i++) send.sendNowait(i);
    for await (const item of receive) if (item === 1) break;
    expect(receive.receiveNowait()).toBe(2);
    send.close();
    expect(await collect(receive)).toEqual([3, 4]);
    expect(await collect(receive)).toEqual([]);
  });

  // trio: test_statistics; anyio: test_statistics
  runTest('tells how many there are of everything, at both ends', async () => {
    const [send, receive] = openMemoryChannel<number>(2);
    expect(send.statistics()).toEqual({
      buffered: 0,
      capacity: 2,
      senders: 1,
      receivers: 1,
      waitingSenders: 0,
      waitingReceivers: 0,
    });
    expect(receive.statistics()).toEqual(send.statistics());
    const send2 = send.clone();
    const receive2 = receive.clone();
    expect(send.statistics()).toMatchObject({ senders: 2, receivers: 2 });
    send.close();
    receive2.close();
    expect(send.statistics()).toMatchObject({ senders: 1, receivers: 1 });
    await openNursery(async (nursery) => {
      send2.sendNowait(1);
      send2.sendNowait(2);
      nursery.startSoon(() => send2.send(3));
      nursery.startSoon(() => send2.send(4));
      await idle();
      expect(receive.statistics()).toMatchObject({ buffered: 2, waitingSenders: 2 });
      receive.receiveNowait();
      expect(receive.statistics()).toMatchObject({ buffered: 2, waitingSenders: 1 });
      nursery.cancel();
    });
    expect(send.statistics().waitingSenders).toBe(0);
    expect([receive.receiveNowait(), receive.receiveNowait()]).toEqual([2, 3]);
    await openNursery(async (nursery) => {
      nursery.startSoon(() => receive.receive());
      await idle();
      expect(send.statistics()).toMatchObject({ buffered: 0, waitingReceivers: 1 });
      nursery.cancel();
    });
    expect(send.statistics().waitingReceivers).toBe(0);
  });
});

describe('a channel without capacity', () => {
  // trio: test_unbuffered; anyio: test_cancel_receive, test_cancel_send
  runTest('makes a send wait for its receiver', async () => {
    const [send, receive] = openMemoryChannel<number>(0);
    expect(thrown(() => receive.receiveNowait())).toBeInstanceOf(WouldBlock);
    expect(thrown(() => send.sendNowait(1))).toBeInstanceOf(WouldBlock);
    const sender = begun(() => send.send(1));
    await idle();
    expect([sender.done, send.statistics().buffered]).toEqual([false, 0]);
    expect(await receive.receive()).toBe(1);
    await sender;
    expect(thrown(() => receive.receiveNowait())).toBeInstanceOf(WouldBlock);
  });

  // anyio: test_receive_then_send, test_receive_then_send_nowait
  runTest('gives to receivers that wait already', async () => {
    const [send, receive] = openMemoryChannel<string>(0);
    const tasks = [0, 1, 2].map(() => begun(() => receive.receive()));
    await send.send('a');
    send.sendNowait('b');
    send.sendNowait('c');
    expect(thrown(() => send.sendNowait('d'))).toBeInstanceOf(WouldBlock);
    expect(await Promise.all(tasks)).toEqual(['a', 'b', 'c']);
  });

  // anyio: test_send_then_receive_nowait, test_send_is_unblocked_after_receive_nowait
  runTest('lets receiveNowait take from a send that waits', async () => {
    for (const capacity of [0, 1]) {
      const [send, receive] = openMemoryChannel<string>(capacity);
      if (capacity === 1) send.sendNowait('x');
      const sender = begun(() => send.send('a'));
      expect(receive.receiveNowait()).toBe(capacity === 1 ? 'x' : 'a');
      await sender;
      expect(receive.statistics().buffered).toBe(capacity);
    }
  });
});

describe('closing', () => {
  // trio: test_close_basics, test_close_sync; anyio: test_sync_close,
  // test_receive_send_closed_send_stream, test_close_send_while_receiving
  runTest('the sender fails its sends and ends the receivers', async () => {
    const [send, receive] = openMemoryChannel<number>(0);
    const sender = begun(() => send.send(1));
    await idle();
    send.close();
    expect(await failure(sender)).toBeInstanceOf(ClosedResourceError);
    await expectNoSend(send, ClosedResourceError);
    await expectNoReceive(receive, EndOfChannel);
    const [send2, receive2] = openMemoryChannel<number>(1);
    const receiver = begun(() => receive2.receive());
    const loop = begun(() => collect(receive2));
    send2.close();
    expect(await failure(receiver)).toBeInstanceOf(EndOfChannel);
    expect(await loop).toEqual([]);
  });

  // trio: the same; anyio: test_receive_send_closed_receive_stream,
  // test_close_receive_while_sending
  runTest('the receiver fails its receives and breaks the senders', async () => {
    const [send, receive] = openMemoryChannel<number>(0);
    const sender = begun(() => send.send(1));
    await idle();
    receive.close();
    expect(await failure(sender)).toBeInstanceOf(BrokenResourceError);
    await expectNoSend(send, BrokenResourceError);
    const [, receive2] = openMemoryChannel<number>(1);
    const receiver = begun(() => receive2.receive());
    const loop = begun(() => collect(receive2));
    receive2.close();
    expect(await failure(receiver)).toBeInstanceOf(ClosedResourceError);
    expect(await failure(loop)).toBeInstanceOf(ClosedResourceError);
    await expectNoReceive(receive2, ClosedResourceError);
    expect(await failure(collect(receive2))).toBeInstanceOf(ClosedResourceError);
  });

  runTest('the last receiver drops what is left', async () => {
    const [send, receive] = openMemoryChannel<object>(5);
    const clone = receive.clone();
    send.sendNowait({});
    receive.close();
    expect(send.statistics().buffered).toBe(1);
    clone.close();
    expect(send.statistics()).toMatchObject({ buffered: 0, receivers: 0 });
    send.clone().close();
  });

  // trio: test_receive_channel_clone_and_close; anyio: test_clone_closed
  runTest('of one clone leaves the others open', async () => {
    const [send, receive] = openMemoryChannel<number>(10);
    const receive2 = receive.clone();
    const receive3 = receive.clone();
    send.sendNowait(1);
    receive.close();
    {
      await using _ = receive2;
    }
    expect(thrown(() => receive.clone())).toBeInstanceOf(ClosedResourceError);
    expect(thrown(() => receive2.clone())).toBeInstanceOf(ClosedResourceError);
    send.sendNowait(2);
    receive3.close();
    expect(thrown(() => send.sendNowait(3))).toBeInstanceOf(BrokenResourceError);
  });

  // anyio: test_clone
  runTest('the first ends does not matter to their clones', () => {
    const [send, receive] = openMemoryChannel<number>(1);
    const [send2, receive2] = [send.clone(), receive.clone()];
    send.close();
    receive.close();
    send2.sendNowait(1);
    expect(receive2.receiveNowait()).toBe(1);
  });

  // trio: test_close_multiple_send_handles
  runTest('one sender fails its own sends only', async () => {
    const [send, receive] = openMemoryChannel<string>(0);
    const send2 = send.clone();
    const closed = begun(() => send.send('no'));
    const fine = begun(() => send2.send('ok'));
    send.close();
    expect(await receive.receive()).toBe('ok');
    await fine;
    expect(await failure(closed)).toBeInstanceOf(ClosedResourceError);
  });

  // trio: test_close_multiple_receive_handles
  runTest('one receiver fails its own receives only', async () => {
    const [send, receive] = openMemoryChannel<string>(0);
    const receive2 = receive.clone();
    const closed = begun(() => receive.receive());
    const fine = begun(() => receive2.receive());
    receive.close();
    await send.send('ok');
    expect(await fine).toBe('ok');
    expect(await failure(closed)).toBeInstanceOf(ClosedResourceError);
  });

  // anyio: test_close_receive_after_send
  runTest('in the turn of a rendezvous takes nothing back', async () => {
    const [send, receive] = openMemoryChannel<string>(0);
    await taskGroup((group) => {
      group.createTask(async () => {
        await using _ = send;
        await send.send('test');
      });
      group.createTask(async () => {
        await using _ = receive;
        expect(await receive.receive()).toBe('test');
      });
    });
    const [send2, receive2] = openMemoryChannel<string>(0);
    const receiver = begun(() => receive2.receive());
    const sender = begun(() => send2.send('x'));
    send2.close();
    receive2.close();
    await sender;
    expect(await receiver).toBe('x');
  });
});

describe('cancellation', () => {
  // anyio: test_receive_when_cancelled
  runTest('comes before an item that is there', async () => {
    const [send, receive] = openMemoryChannel<string>(0);
    const first = begun(() => send.send('hello'));
    const second = begun(() => send.send('world'));
    const scope = new CancelScope();
    scope.cancel();
    await scope.run(() => receive.receive());
    expect(scope.cancelledCaught).toBe(true);
    expect([await receive.receive(), await receive.receive()]).toEqual(['hello', 'world']);
    await Promise.all([first, second]);
  });

  // anyio: test_send_when_cancelled
  runTest('comes before a receiver that waits', async () => {
    const [send, receive] = openMemoryChannel<string>(0);
    const receiver = begun(() => receive.receive());
    const scope = new CancelScope();
    scope.cancel();
    await scope.run(() => send.send('hello'));
    await send.send('world');
    expect(await receiver).toBe('world');
  });

  // anyio: test_cancel_during_receive
  runTest('after the hand-over, in the same turn, leaves the item with its receiver', async () => {
    const [send, receive] = openMemoryChannel<string>(0);
    const scope = new CancelScope();
    const receiver = begun(() => scope.run(() => receive.receive()));
    send.sendNowait('hello');
    scope.cancel();
    expect([await receiver, scope.cancelledCaught]).toEqual(['hello', false]);
  });

  // anyio: test_cancel_during_receive_buffered, test_send_to_natively_cancelled_receiver
  runTest('before the hand-over, in the same turn, leaves the item to the next', async () => {
    const [send, receive] = openMemoryChannel<string>(1);
    const scope = new CancelScope();
    const level = begun(() => scope.run(() => receive.receive()));
    const edge = begun(() => receive.receive());
    scope.cancel();
    edge.cancel();
    send.sendNowait('item');
    expect(await level).toBeUndefined();
    expect(await failure(edge)).toBeInstanceOf(CancelledError);
    expect(receive.receiveNowait()).toBe('item');
  });

  runTest('takes back a send that waits, by signal too', async () => {
    const [send, receive] = openMemoryChannel<number>(0);
    const controller = new AbortController();
    const aborted = begun(() => send.send(1, { signal: controller.signal }));
    const cancelled = begun(() => send.send(2));
    const sent = begun(() => send.send(3));
    controller.abort('why');
    cancelled.cancel();
    expect(await failure(aborted)).toBe('why');
    expect(await failure(cancelled)).toBeInstanceOf(CancelledError);
    expect(await receive.receive()).toBe(3);
    await sent;
    const receiver = begun(() => receive.receive({ signal: AbortSignal.timeout(1) }));
    expect((await failure(receiver)).name).toBe('TimeoutError');
    expect(await failure(send.send(4, { signal: AbortSignal.abort('late') }))).toBe('late');
  });
});

describe('misuse', () => {
  test('a capacity that is no number is a TypeError', () => {
    for (const capacity of ['1', undefined, null, 1n]) {
      const error = thrown(() => openMemoryChannel(capacity as unknown as number));
      expect([error.name, error.code]).toEqual(['TypeError', 'ERR_INVALID_ARG_TYPE']);
    }
  });

  // trio: test_channel; anyio: test_invalid_max_buffer, test_negative_max_buffer
  test('a capacity that is negative, no integer or NaN is a RangeError', () => {
    for (const capacity of [-1, 1.5, Number.NaN, -Infinity]) {
      const error = thrown(() => openMemoryChannel(capacity));
      expect([error.name, error.code]).toEqual(['RangeError', 'ERR_OUT_OF_RANGE']);
      expect(error.message).toContain('capacity');
    }
  });
});

describe('outside of run()', () => {
  checkLeaks();

  test('all works', async () => {
    const [send, receive] = openMemoryChannel<number>(3);
    currentLoop().callSoon(() => send.sendNowait(0));
    const got = collect(receive);
    const producer = createTask(async () => {
      await using _ = send;
      for (let i = 1; i < 300; i++) await send.send(i);
    });
    await producer;
    expect(await got).toEqual(Array.from({ length: 300 }, (_, i) => i));
  });
});

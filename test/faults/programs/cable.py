"""A bad cable between two network namespaces: each has a TUN device, and packets pass here.

`python3 cable.py NEAR FAR`. A line of JSON on standard input says how bad it is from now on, and is
answered with what has passed since the last one. The kernel's netem does this where it is there.
"""

import ctypes
import errno
import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time

IFF_TUN_NO_PI = 0x0001 | 0x1000
TUNSETIFF = 0x400454CA
CLONE_NEWNET = 0x40000000
IP_HEADER_BYTES = 20
UDP = 17

libc = ctypes.CDLL(None, use_errno=True)


def enter(namespace):
    with open(f"/run/netns/{namespace}") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns", namespace)


def open_tun(namespace):
    """The device belongs to the namespace in which it was opened, whoever holds it."""
    enter(namespace)
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"rough", IFF_TUN_NO_PI))
    return tun


class Way:
    """One direction."""

    def __init__(self, source, sink):
        self.source = source
        self.sink = sink
        self.sent = 0
        self.newest = 0


class Cable:
    def __init__(self, near, far):
        self.ways = {near: Way(near, far), far: Way(far, near)}
        self.near = near
        self.waiting = []
        self.set({})

    def set(self, weather):
        """Shares are of all packets, times in milliseconds."""
        self.random = random.Random(weather.get("seed", 1))
        self.lost_share = weather.get("lost", 0)
        self.twice_share = weather.get("twice", 0)
        self.broken_share = weather.get("broken", 0)
        self.delay = weather.get("delayMs", 0) / 1000
        # Any two packets that are closer than this may overtake one another.
        self.jitter = weather.get("jitterMs", 0) / 1000
        names = ["passed", "lost", "twice", "broken", "overtaken", "datagramsToNear", "datagramsToFar"]
        self.counts = dict.fromkeys(names, 0)

    def take(self, source, now):
        """What has come out of one end; IPv4 only, since devices chat in IPv6 on their own."""
        way = self.ways[source]
        for _ in range(64):
            try:
                packet = os.read(source, 65536)
            except BlockingIOError:
                return
            if packet[0] >> 4 == 4:
                self.carry(way, packet, now)

    def carry(self, way, packet, now):
        draw = self.random.random
        if draw() < self.lost_share:
            self.counts["lost"] += 1
            return
        broken = draw() < self.broken_share
        if broken:
            # The checksum of TCP and of UDP covers all that comes after the IP header.
            place = self.random.randrange(IP_HEADER_BYTES, len(packet))
            packet = packet[:place] + bytes([packet[place] ^ 4]) + packet[place + 1 :]
            self.counts["broken"] += 1
        copies = 1
        if draw() < self.twice_share:
            self.counts["twice"] += 1
            copies = 2
        way.sent += 1
        for _ in range(copies):
            due = now + self.delay + draw() * self.jitter
            heapq.heappush(self.waiting, (due, way.sent, id(way), way, packet, broken))

    def hand_over(self, now):
        while self.waiting and self.waiting[0][0] <= now:
            _, number, _, way, packet, broken = heapq.heappop(self.waiting)
            if number < way.newest:
                self.counts["overtaken"] += 1
            way.newest = max(way.newest, number)
            try:
                os.write(way.sink, packet)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                continue  # The device is not up yet, or no longer.
            self.counts["passed"] += 1
            if packet[9] == UDP and not broken:
                end = "Near" if way.sink == self.near else "Far"
                self.counts[f"datagramsTo{end}"] += 1

    def wait_ms(self):
        """poll counts in milliseconds, and half of one may not become none."""
        if not self.waiting:
            return None
        return max(1, (self.waiting[0][0] - time.monotonic()) * 1000)


def main():
    near, far = (open_tun(name) for name in sys.argv[1:3])
    cable = Cable(near, far)
    print("{}", flush=True)
    poll = select.poll()
    for fd in (near, far, 0):
        poll.register(fd, select.POLLIN)
    while True:
        for fd, _ in poll.poll(cable.wait_ms()):
            if fd != 0:
                cable.take(fd, time.monotonic())
            elif line := sys.stdin.readline():
                print(json.dumps(cable.counts), flush=True)
                cable.set(json.loads(line))
            else:
                return
        cable.hand_over(time.monotonic())


main()

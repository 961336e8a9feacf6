#!/usr/bin/env python3
"""A wide-area link: two network namespaces, joined by two TUN devices and this program, as root.

    link.py NEAR FAR CONGESTION

Every packet arrives 75 ms after it was sent, or never: one in a thousand is lost, which ones is the same in each run. TCP on
both sides controls congestion by CONGESTION, such as `cubic` or `bbr`. Prints `ready`, forwards until its standard input
ends, and takes the namespaces down again. What cannot be made is an error.

It forwards about 700 Mbit/s; what a busy moment leaves waiting stays in the devices' queues.
"""

import collections
import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time

DELAY = 0.075
LOSS = 0.001
# Packets on their way in one direction, and before a device: past that they are dropped, as by any router. A device's usual
# queue of 500 would drop many more than the one in a thousand.
QUEUE = 20_000

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000


def tun(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def forward(devices):
    """Hands packets from each device to the other, late, until standard input ends."""
    rng = random.Random(1)
    queues = {device: collections.deque() for device in devices}
    others = {devices[0]: devices[1], devices[1]: devices[0]}
    while True:
        now = time.monotonic()
        due = [queue[0][0] - now for queue in queues.values() if queue]
        readable, _, _ = select.select([sys.stdin, *devices], [], [], max(0, min(due)) if due else None)
        if sys.stdin in readable:
            return
        for device in (device for device in devices if device in readable):
            queue = queues[others[device]]
            try:
                for _ in range(64):
                    packet = os.read(device, 2048)
                    if len(queue) < QUEUE and rng.random() >= LOSS:
                        queue.append((time.monotonic() + DELAY, packet))
            except BlockingIOError:
                pass
        now = time.monotonic()
        for device, queue in queues.items():
            while queue and queue[0][0] <= now:
                os.write(device, queue.popleft()[1])


def main():
    near, far, congestion = sys.argv[1:]
    made = []
    try:
        devices = []
        for namespace, address in ((near, "10.99.0.1/24"), (far, "10.99.0.2/24")):
            ip("netns", "add", namespace)
            made.append(namespace)
            devices.append(tun(namespace))
            ip("link", "set", namespace, "netns", namespace)
            ip("-n", namespace, "address", "add", address, "dev", namespace)
            ip("-n", namespace, "link", "set", namespace, "txqueuelen", str(QUEUE), "up")
            ip("-n", namespace, "link", "set", "lo", "up")
            ip("-n", namespace, "route", "replace", "10.99.0.0/24", "dev", namespace, "congctl", congestion)
        print("ready", flush=True)
        forward(devices)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"link.py: no link can be made here (root, /dev/net/tun and ip are needed): {error}")
    finally:
        for namespace in made:
            subprocess.run(["ip", "netns", "delete", namespace], check=False)


main()

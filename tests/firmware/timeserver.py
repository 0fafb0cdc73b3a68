"""The time server's client on MicroPython: port and what was set go by files, as the pins do."""

import time

from clock import Clock, TimeServer

set_to = []
with open("port") as file:
    server = TimeServer("127.0.0.1", set_to.append, int(file.read()))
clock = Clock()
while clock.now_ms() < 1500 and not server.synced:
    server.step(clock.now_ms())
    time.sleep_ms(5)
print(server.synced, set_to)

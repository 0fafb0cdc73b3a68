"""The hostile packets on the interpreter of the board: prints one line when all of them are refused."""

import os

import mqtt

refused = 0
for name in sorted(os.listdir()):
    if not name.startswith("hostile-"):
        continue
    parser = mqtt.Parser()
    with open(name, "rb") as file:
        try:
            while True:
                piece = file.read(512)
                if not piece:
                    print("not refused:", name)
                    break
                for packet in parser.feed(piece):
                    print("accepted:", name, packet)
        except mqtt.ProtocolError:
            refused += 1

# Noise: every stream ends in packets or in a ProtocolError, and the heap holds.
for _ in range(3000):
    parser = mqtt.Parser()
    noise = os.urandom(64)
    try:
        for first in b"\x20\x30\x32\x40\x90\xd0":
            for packet in parser.feed(bytes([first]) + noise):
                assert len(packet) >= 1
    except mqtt.ProtocolError:
        pass
print("%d refused" % refused)

"""A sensor node in another language, written from firmware/README.md alone.

    python3 node.py <id, 8 characters> <boot> <readings> <ring, in readings> <first number> <>/dev/ttyACM0

The line is its standard input. It makes a reading every 5 ms and ends when the gateway has them all."""

import os, select, sys, time, zlib

FIELDS = [(b"count", b"", 0), (b"temperature", b"Cel", -1)]
TO_NODE = {
    0: [], 1: ["[u8; 8]", "u32", "u16", "u32"], 2: ["u16", "u32"], 3: ["u16", "u32"],
    4: ["u16", "u32", "u32"], 5: ["u16"], 6: ["u32", "u8"],
}

def varint(n):
    low = bytes([n & 127 | (128 if n > 127 else 0)])
    return low + varint(n >> 7) if n > 127 else low

def prefixed(data): return varint(len(data)) + data
def zigzag(n): return varint(2 * n if n >= 0 else -2 * n - 1)
def field(name, unit, exponent): return prefixed(name) + prefixed(unit) + bytes([1, exponent & 255])
def is_before(a, b): return 0 < (b - a) % 2**32 < 2**31

KEY = zlib.crc32(b"".join(field(*one) for one in FIELDS))

def frame(message):
    body = b"\1" + message
    body += zlib.crc32(body).to_bytes(4, "little")
    return b"".join(bytes([len(piece) + 1]) + piece for piece in body.split(b"\0")) + b"\0"

def unframe(run):
    """The message between two zeros of the line, or nothing."""
    pieces, at = [], 0
    while at < len(run):
        pieces.append(run[at + 1:at + run[at]])
        at += run[at]
    body = b"\0".join(pieces)
    good = at == len(run) <= 253 and len(body) >= 6 and body[0] == 1
    return body[1:-4] if good and zlib.crc32(body[:-4]).to_bytes(4, "little") == body[-4:] else b""

def take_varint(message, at, bits):
    n = shift = 0
    while True:
        n |= (message[at] & 127) << shift
        at, shift, is_last = at + 1, shift + 7, message[at] < 128
        if n >> bits or shift > bits + 6:
            raise ValueError("longer than its type")
        if is_last:
            return n, at

def read(message):
    """Number and fields of a message that is whole, or nothing."""
    try:
        number, values, at = message[0], [], 1
        for kind in TO_NODE[number]:
            if kind in ("u16", "u32"):
                value, at = take_varint(message, at, int(kind[1:]))
            elif kind == "u8":
                value, at = message[at], at + 1
            else:
                value, at = message[at:at + 8], at + 8
            values.append(value)
        return (number, values) if at == len(message) else None
    except (IndexError, KeyError, ValueError):
        return None

class Node:
    def __init__(self, device, boot, count, room, first):
        self.device, self.boot, self.count, self.room = device, boot, count, room
        self.ring, self.oldest, self.made, self.lost, self.session = [], first, 0, 0, 0
        self.cursor = self.furthest = first
        self.hello_at, self.hold_until, self.wait, self.again_at = 0, 0, 0.3, None

    def next(self): return (self.oldest + len(self.ring)) % 2**32
    def send(self, message): os.write(0, frame(message))

    def drop(self, count):
        self.ring, self.oldest = self.ring[count:], (self.oldest + count) % 2**32
        if is_before(self.cursor, self.oldest): self.cursor = self.oldest

    def release(self, following, now):
        """Lets go what is before `following`, as far as it was sent in this session."""
        sent = 0 if is_before(self.furthest, self.oldest) else (self.furthest - self.oldest) % 2**32
        count = (following - self.oldest) % 2**32
        if 1 <= count <= sent:
            self.drop(count)
            self.wait = 0.3
            self.again_at = None if self.cursor == following else now + self.wait

    def take(self, number, values, now):
        if number == 0: self.hello_at = now
        if number == 5: self.send(b"\2" + varint(values[0]) + varint(self.boot) + varint(int(now * 1000)))
        if number == 6: self.send_field(*values)
        if number == 1 and values[:2] == [self.device, self.boot] and not is_before(self.next(), values[3]):
            if values[2] == self.session: self.release(values[3], now)
            elif values[2] != 0:
                self.session, self.hello_at, self.hold_until, self.wait, self.again_at = values[2], None, 0, 0.3, None
                if is_before(self.oldest, values[3]): self.drop((values[3] - self.oldest) % 2**32)
                self.cursor = self.furthest = self.oldest
        if number not in (2, 3, 4) or values[0] != self.session or self.session == 0: return
        if number != 3: self.release(values[1], now)
        if number == 3 and is_before(values[1], self.oldest): self.cursor, self.hello_at = self.oldest, now
        elif number == 3 and is_before(values[1], self.cursor): self.cursor = values[1]
        if number == 4: self.cursor, self.again_at, self.hold_until = self.oldest, None, now + min(values[2] / 1000, 60)

    def send_field(self, key, index):
        known = key == KEY and index < len(FIELDS)
        count, described = (len(FIELDS), field(*FIELDS[index])) if known else (0, bytes(3))
        self.send(b"\3" + varint(key) + bytes([index, count]) + described)

    def turn(self, now):
        """Makes what is due, and sends what is due."""
        while self.made < min(self.count, now * 200):
            values = zigzag(self.made) + zigzag(180 + self.made % 50)
            self.ring.append(varint(int(now * 1000)) + b"\0" + varint(KEY) + prefixed(values))
            self.made += 1
            if len(self.ring) > self.room: self.drop(1); self.lost += 1
        if self.hello_at is not None and now >= self.hello_at:
            self.hello_at = None if self.session else now + 1
            self.send(b"\0" + self.device + varint(self.boot) + varint(self.session) + prefixed(b"py 1") + b"\0" + varint(KEY)
                      + b"\x08" + varint(self.next()) + varint(self.oldest) + varint(self.lost))
        if not self.session or now < self.hold_until: return
        if self.again_at is not None and now >= self.again_at:
            self.cursor, self.again_at, self.wait = self.oldest, None, min(self.wait * 2, 5)
        while is_before(self.cursor, self.next()) and (self.cursor - self.oldest) % 2**32 < 8:
            record = self.ring[(self.cursor - self.oldest) % 2**32]
            self.send(b"\1" + varint(self.session) + varint(self.cursor) + prefixed(record))
            self.cursor = (self.cursor + 1) % 2**32
            if is_before(self.furthest, self.cursor): self.furthest = self.cursor
            if self.again_at is None: self.again_at = now + self.wait

def main():
    node, began, line = Node(sys.argv[1].encode(), *map(int, sys.argv[2:6])), time.monotonic(), b""
    while node.made < node.count or node.ring:
        node.turn(time.monotonic() - began)
        if select.select([0], [], [], 0.005)[0]:
            *runs, line = (line + os.read(0, 4096)).split(b"\0")
            for run in runs:
                message = read(unframe(run))
                if message: node.take(*message, time.monotonic() - began)

if __name__ == "__main__":
    main()

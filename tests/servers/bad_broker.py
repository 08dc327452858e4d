#!/usr/bin/env python3
"""An MQTT broker that breaks the protocol on purpose, for the tests of the adapter.

    bad_broker.py MODE...

The first connection is served in the first mode, the second in the second, and all further ones in the mode `good`. It
prints one line of JSON when it listens, {"port": 1883}, and one for each packet that it gets,
{"connection": 1, "packet": 4, "body": "0001"}; it ends when its standard input ends. A line on standard input is a
payload, which the connection that is open now gets as a message of quality of service 1 on `plant/count`.

No packages are needed: it writes its bytes by hand, which is the point of it.
"""
import json
import os
import socket
import struct
import sys
import threading

WORDS = threading.Lock()


def say(**what):
    with WORDS:
        print(json.dumps(what), flush=True)


def length(count):
    out = b""
    while True:
        digit, count = count & 0x7F, count >> 7
        out += bytes([digit | (0x80 if count else 0)])
        if not count:
            return out


def packet(first, body):
    return bytes([first]) + length(len(body)) + body


def text(written):
    data = written.encode()
    return struct.pack(">H", len(data)) + data


def publish(payload, topic="plant/count", qos=1, ident=1, dup=False, retain=False, properties=None):
    first = 0x30 | (8 if dup else 0) | qos << 1 | (1 if retain else 0)
    body = text(topic) + (struct.pack(">H", ident) if qos else b"")
    if properties is not None:
        body += length(len(properties)) + properties
    return packet(first, body + payload.encode())


class Closed(Exception):
    pass


class Connection:
    def __init__(self, number, stream):
        self.number, self.stream, self.buffer = number, stream, b""
        self.version, self.next_id = 4, 100

    def take(self, count):
        while len(self.buffer) < count:
            more = self.stream.recv(65536)
            if not more:
                raise Closed
            self.buffer += more
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def read(self):
        first, count, shift = self.take(1)[0], 0, 0
        while True:
            digit = self.take(1)[0]
            count |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                break
        body = self.take(count)
        say(connection=self.number, packet=first >> 4, body=body[:64].hex())
        return first >> 4, body

    def send(self, data):
        self.stream.sendall(data)

    def until(self, kind):
        """Reads until such a packet comes."""
        while True:
            found, body = self.read()
            if found == kind:
                return body

    def connect(self, code=0, present=0):
        body = self.until(1)
        self.version = body[6]
        self.send(packet(0x20, bytes([present, code]) + (b"\x00" if self.version == 5 else b"")))

    def subscribe(self, codes=None, wrong_id=False):
        body = self.until(8)
        ident = body[:2] if not wrong_id else bytes([body[0], body[1] ^ 0x55])
        rest, filters = body[2 + (1 if self.version == 5 else 0):], 0
        while rest:
            (size,) = struct.unpack(">H", rest[:2])
            rest, filters = rest[2 + size + 1:], filters + 1
        codes = bytes([codes] * filters) if codes is not None else bytes([2] * filters)
        self.send(packet(0x90, ident + (b"\x00" if self.version == 5 else b"") + codes))

    def properties(self):
        return b"" if self.version == 5 else None

    def serve(self):
        """As a broker should: answers what must be answered."""
        while True:
            kind, body = self.read()
            if kind == 12:
                self.send(packet(0xD0, b""))
            elif kind == 5:
                self.send(packet(0x62, body[:2]))


def good(c):
    c.connect()
    c.subscribe()
    c.serve()


def silent(c):
    """Takes the connection, and says nothing, ever."""
    c.until(99)


def refuses(c):
    c.connect(code=5 if c.version == 4 else 0x87)
    c.serve()


def garbage(c):
    c.until(1)
    c.send(bytes(range(255, 0, -1)) * 40)
    c.until(99)


def garbage_later(c):
    c.connect()
    c.subscribe()
    c.send(publish("1", properties=c.properties()))
    c.until(4)
    c.send(b"\xff" * 4096)
    c.until(99)


def half(c):
    """Closes in the middle of a message."""
    c.connect()
    c.subscribe()
    whole = publish("1" * 2000, properties=c.properties())
    c.send(whole[: len(whole) // 2])
    c.stream.shutdown(socket.SHUT_RDWR)


def huge(c):
    """A message of 200 megabytes, of which it sends what is taken."""
    c.connect()
    c.subscribe()
    c.send(bytes([0x32]) + length(200_000_000) + text("plant/count") + b"\x00\x01")
    while True:
        c.send(b"7" * 65536)


def early(c):
    """A message before the connection stands."""
    c.until(1)
    c.send(publish("666"))
    c.until(99)


def resumed(c):
    """Says that it has kept a session, which it has not."""
    c.connect(present=1)
    c.subscribe()
    c.serve()


def wrong_suback(c):
    c.connect()
    c.subscribe(wrong_id=True)
    c.until(99)


def no_suback(c):
    c.connect()
    c.until(99)


def refuses_subscription(c):
    c.connect()
    c.subscribe(codes=0x80 if c.version == 4 else 0x87)
    c.serve()


def same_id(c):
    """Two messages under one packet id, the second before the first is acknowledged, and none marked as sent before."""
    c.connect()
    c.subscribe()
    c.send(publish("1", ident=7, properties=c.properties()) + publish("2", ident=7, properties=c.properties()))
    c.serve()


def twice(c):
    """Quality 2: sends a message again before it was answered, and releases one that it never sent."""
    c.connect(present=0)
    c.subscribe()
    p = c.properties()
    c.send(publish("1", qos=2, ident=9, properties=p) + publish("1", qos=2, ident=9, dup=True, properties=p))
    c.until(5)
    c.until(5)
    c.send(packet(0x62, b"\x00\x09") + packet(0x62, b"\x0f\xff"))
    c.serve()


def flood(c):
    """Sends far more than anybody takes at once, without waiting for an acknowledgement."""
    c.connect()
    c.subscribe()
    p = c.properties()
    c.send(b"".join(publish(str(n), ident=n + 1, properties=p) for n in range(5000)))
    c.serve()


def alias(c):
    """MQTT 5: uses a topic alias, which the client did not allow."""
    c.connect()
    c.subscribe()
    c.send(publish("1", properties=b"\x23\x00\x01"))
    c.until(99)


def bye(c):
    """MQTT 5: closes, and says why, at length."""
    c.connect()
    c.subscribe()
    reason = b"\x1f" + text("maintenance until \x1b[31mnoon\n" + "!" * 3000)
    c.send(packet(0xE0, b"\x8b" + length(len(reason)) + reason))
    c.until(99)


def deaf(c):
    """Answers no ping."""
    c.connect()
    c.subscribe()
    c.send(publish("1", properties=c.properties()))
    c.until(99)


def second_connack(c):
    c.connect()
    c.subscribe()
    c.send(packet(0x20, bytes([0, 0]) + (b"\x00" if c.version == 5 else b"")))
    c.until(99)


MODES = {mode.__name__: mode for mode in (
    good, silent, refuses, garbage, garbage_later, half, huge, early, resumed, wrong_suback, no_suback,
    refuses_subscription, same_id, twice, flood, alias, bye, deaf, second_connack)}


def main():
    modes = [MODES[name] for name in sys.argv[1:]]
    listener = socket.create_server(("127.0.0.1", 0))
    current = []

    def run(connection, mode):
        try:
            mode(connection)
        except (Closed, OSError):
            pass
        connection.stream.close()
        say(connection=connection.number, closed=mode.__name__)

    def accept():
        for number in range(1, 1_000_000):
            stream, _ = listener.accept()
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(number, stream)
            mode = modes[number - 1] if number <= len(modes) else good
            current[:] = [connection]
            threading.Thread(target=run, args=(connection, mode), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    say(port=listener.getsockname()[1])
    for line in sys.stdin:
        connection = current[0]
        connection.next_id += 1
        connection.send(publish(line.strip(), ident=connection.next_id, properties=connection.properties()))
    os._exit(0)


main()

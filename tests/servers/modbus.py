"""A Modbus device for tests: a real pymodbus server on the loopback interface, or on a serial line.

    modbus.py [--port PORT] [--stable] [--mode MODE] [--over tcp|rtu-over-tcp|tls|rtu] [--units 2,3] [--silent-units]

Prints one line of JSON once it listens: its port, and a table of what it holds ("streams": how each value is to be
configured at a gateway, and the value that the gateway must then show). It ends when its standard input ends, so it
never outlives the test that started it.

--port PORT   this port; without it a free one
--stable      a free port that the system hands to nobody else by itself, so that it can be taken again after a stop
--over HOW    Modbus TCP (the default); RTU frames over TCP; Modbus TCP in TLS, with --certificate, --key and --ca (PEM
              files; the client must show a certificate of that authority); RTU on the serial port --serial at 19200 8N1
--units LIST  further units behind the same address, besides 1; unit U holds U * 1000 + A in holding register A, 0 to 99
--silent-units  requests to any other unit are not answered, as on a line; else they are refused with exception 11

Lines on standard input change how it answers; each is echoed once it holds:
    mode normal      answers at once
    mode slow MS     answers after so many milliseconds, on the same connection
    mode late A MS   the same for requests that begin at address A only; all others are answered at once
    mode silent      takes requests and never answers
    mode closes      closes the connection in place of each answer
    mode garbage     answers with bytes that are no answer to what was asked, in turn of five kinds
    mode refuses     answers each request with exception 4 (device failure)

The line `writes` is answered with the number of requests to write that came, as JSON: {"writes": 0}
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import ssl
import struct
import sys

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer, ModbusTlsServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

# Below what Linux hands out for port 0 (from 32768 on).
STABLE_PORTS = range(20000, 30000)

# Eight numbers of 32 bits. Each request that reads the first of them finds eight that nobody ever saw before.
COUNTER_ADDRESS = 1000
COUNTERS = 8
HOLDING_READS = (3,)
WRITES = (5, 6, 15, 16, 22, 23)


class State:
    """How the device answers, and the numbers it gave out."""

    def __init__(self, mode: str):
        self.mode, self.argument, self.address = mode, 0, None
        self.units: set[int] = set()
        self.given = 0
        self.writes = 0
        self.garbage = 0
        self.random = random.Random(1)

    def set(self, words: list[str]) -> None:
        if words[0] not in ("normal", "slow", "late", "silent", "closes", "garbage", "refuses"):
            raise SystemExit(f"modbus.py: no mode {words[0]!r}")
        self.mode, self.argument = words[0], int(words[-1]) if len(words) > 1 else 0
        self.address = int(words[1]) if words[0] == "late" else None


class Handler(ServerRequestHandler):
    """pymodbus's own handler, except that the answer may be late, wrong or missing."""

    state: State

    def server_send(self, pdu, addr):
        state = self.state
        # The answer to each request, an exception too.
        state.writes += pdu.function_code & 0x7F in WRITES
        if state.units and pdu.dev_id not in state.units:
            return
        asked = getattr(self.last_pdu, "address", None)
        if state.mode == "slow" or (state.mode == "late" and asked == state.address):
            self.loop.call_later(state.argument / 1000, super().server_send, pdu, addr)
        elif state.mode == "closes":
            self.close()
        elif state.mode == "garbage":
            self.send(garbage(state, pdu), addr=addr)
        elif state.mode != "silent":  # "late" elsewhere too
            super().server_send(pdu, addr)


def garbage(state: State, pdu) -> bytes:
    """Bytes that are no answer: five kinds in turn."""
    state.garbage += 1
    transaction, unit, function = pdu.transaction_id, pdu.dev_id, pdu.function_code
    match state.garbage % 5:
        case 0:  # No frame at all.
            return state.random.randbytes(64)
        case 1:  # Another transaction's answer.
            return struct.pack(">HHHBBBH", (transaction + 7) & 0xFFFF, 0, 5, unit, function, 2, 0xBEEF)
        case 2:  # Fewer registers than were asked for.
            return struct.pack(">HHHBBB", transaction, 0, 3, unit, function, 0)
        case 3:  # An answer to another function.
            return struct.pack(">HHHBBBH", transaction, 0, 5, unit, 4 if function == 3 else 3, 2, 0xBEEF)
        case _:  # A length that the bytes contradict.
            return struct.pack(">HHHBBBH", transaction, 0, 255, unit, function, 250, 0xBEEF)


class Handled:
    """With the handler above."""

    def callback_new_connection(self):
        return Handler(self, self.trace_packet, self.trace_pdu, self.trace_connect)


class TcpServer(Handled, ModbusTcpServer):
    """pymodbus's own server."""


class TlsServer(Handled, ModbusTlsServer):
    """pymodbus's own server."""


class SerialServer(Handled, ModbusSerialServer):
    """pymodbus's own server."""


class Table:
    """Registers, and the streams that say what they mean."""

    def __init__(self):
        self.holding, self.input, self.streams = [], [], []
        self.at = {"holding": 0, "input": 0}

    def add(self, table: str, kind: str, order: str, packed: bytes, value, **more) -> None:
        """`packed` is the value with its most significant byte first, which the letter A stands for."""
        letters = order or "ABCDEFGH"[: len(packed)]
        data = bytes(packed[ord(letter) - ord("A")] for letter in letters)
        self.put(table, data)
        self.stream(table, kind, order, value, len(data) // 2, **more)

    def put(self, table: str, data: bytes) -> None:
        words = list(struct.unpack(f">{len(data) // 2}H", data))
        getattr(self, table).append(SimData(self.at[table], values=words, datatype=DataType.REGISTERS))

    def plain(self, table: str, kind: str, datatype: DataType, value, words: int) -> None:
        """A value that pymodbus itself puts into registers: the order of the protocol."""
        getattr(self, table).append(SimData(self.at[table], values=value, datatype=datatype))
        self.stream(table, kind, None, value, words)

    def stream(self, table: str, kind: str, order, value, words: int, **more) -> None:
        address = self.at[table]
        name = more.pop("name", f"{table}/{kind}/{order or 'plain'}/{address}")
        self.streams.append({"name": name, "register": f"{table}:{address}", "type": kind, "order": order,
                             "value": value, **more})
        self.at[table] += words


ORDERS = {
    2: ("AB", "BA"),
    4: ("ABCD", "CDAB", "BADC", "DCBA"),
    8: ("ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"),
}
NUMBERS = {
    "i16": (">h", -12345), "u16": (">H", 54321),
    "i32": (">i", -1234567890), "u32": (">I", 4023456789), "f32": (">f", -21.375),
    "i64": (">q", -1234567890123456789), "u64": (">Q", 17446744073709551615), "f64": (">d", 3.141592653589793),
}


def build() -> tuple:
    table = Table()
    for where in ("holding", "input"):
        for kind, (form, value) in NUMBERS.items():
            packed = struct.pack(form, value)
            for order in ORDERS[len(packed)]:
                table.add(where, kind, order, packed, value)
        table.plain(where, "f32", DataType.FLOAT32, 0.5, 2)
        table.plain(where, "i64", DataType.INT64, -(2**63), 4)
        table.plain(where, "u64", DataType.UINT64, 2**64 - 1, 4)
        table.plain(where, "i16", DataType.INT16, -32768, 1)
    table.put("holding", b"\x85\x7f")
    table.stream("holding", "u8", "A", 0x85, 0)
    table.stream("holding", "i8", "A", 0x85 - 256, 0)
    table.stream("holding", "i8", "B", 0x7F, 1)
    table.put("holding", b"\x80\x11")
    for bit, value in ((0, True), (1, False), (4, True), (14, False), (15, True)):
        table.stream("holding", f"bit({bit})", None, value, 0)
    table.at["holding"] += 1
    table.put("holding", b"\x00\x01")
    table.stream("holding", "bool", None, True, 1)
    text = "Füller 7".encode().ljust(12, b"\0")
    table.put("holding", text)
    table.stream("holding", "string(12)", "AB", "Füller 7", 6)
    table.put("holding", bytes(text[i ^ 1] for i in range(12)))
    table.stream("holding", "string(12)", "BA", "Füller 7", 6)
    # The raw value is what is stored; the scaled one is exact in decimal.
    table.put("input", struct.pack(">h", 614))
    table.stream("input", "i16", None, 21.4, 1, name="tank/temperature", scale=0.1, offset=-40, unit="Cel")
    table.put("input", struct.pack(">H", 0x8000))
    table.stream("input", "i16", None, None, 1, name="tank/missing", not_available=["0x8000"], unit="Cel")
    table.put("input", struct.pack(">f", float("nan")))
    table.stream("input", "f32", None, None, 2, name="tank/nan", unit="L")

    counters = [SimData(COUNTER_ADDRESS, values=[0] * (2 * COUNTERS), datatype=DataType.REGISTERS)]
    bits = [bool(i % 3 == 0) for i in range(32)]
    for where in ("coil", "discrete"):
        for address in (0, 1, 3, 17):
            table.streams.append({"name": f"{where}/{address}", "register": f"{where}:{address}", "type": "bool",
                                  "order": None, "value": bits[address]})
    state = State("normal")

    async def action(function, start, address, count, registers, values):
        if state.mode == "refuses":
            return ExcCodes.DEVICE_FAILURE
        if function in HOLDING_READS and address <= COUNTER_ADDRESS < address + count:
            for place in range(COUNTERS):
                state.given += 1
                at = COUNTER_ADDRESS - start + 2 * place
                registers[at : at + 2] = [state.given >> 16, state.given & 0xFFFF]
        return None

    coils = [SimData(0, values=list(bits), datatype=DataType.BITS)]
    discretes = [SimData(0, values=list(bits), datatype=DataType.BITS)]
    device = SimDevice(1, simdata=(coils, discretes, table.holding + counters, table.input), action=action)
    return table, device, state, action


def further_unit(unit: int, action) -> SimDevice:
    """Holds `unit * 1000 + address` in holding registers 0 to 99."""
    values = [unit * 1000 + address for address in range(100)]
    bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
    registers = [SimData(0, values=values, datatype=DataType.REGISTERS)]
    return SimDevice(unit, simdata=(bits, bits, registers, registers), action=action)


def server(devices, port: int, chosen):
    """One that is not listening yet."""
    address = ("127.0.0.1", port)
    match chosen.over:
        case "tcp":
            return TcpServer(devices, address=address)
        case "rtu-over-tcp":
            return TcpServer(devices, address=address, framer=FramerType.RTU)
        case "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chosen.certificate, chosen.key)
            context.load_verify_locations(chosen.ca)
            context.verify_mode = ssl.CERT_REQUIRED
            # pymodbus's own TLS framing leaves the header away, which the specification keeps.
            return TlsServer(devices, address=address, framer=FramerType.SOCKET, sslctx=context)
        case _:
            return SerialServer(devices, port=chosen.serial, baudrate=19200)


async def listen(devices, chosen) -> int:
    """Starts the server; returns its port, 0 on a serial line."""
    if chosen.over == "rtu":
        ports = [0]
    elif chosen.port is not None:
        ports = [chosen.port]
    else:
        ports = random.SystemRandom().sample(STABLE_PORTS, 100) if chosen.stable else [0]
    for port in ports:
        started = server(devices, port, chosen)
        with contextlib.suppress(RuntimeError):
            await started.serve_forever(background=True)
            return port if chosen.over == "rtu" else started.transport.sockets[0].getsockname()[1]
    raise SystemExit(f"modbus.py: cannot listen on any of {len(ports)} ports, such as {ports[0]}")


async def obey(state: State) -> None:
    """Changes of mode and questions, until standard input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().split():
        if line == ["writes"]:
            print(json.dumps({"writes": state.writes}), flush=True)
            continue
        state.set(line[1:])
        print(" ".join(line), flush=True)


async def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int)
    arguments.add_argument("--stable", action="store_true")
    arguments.add_argument("--mode", default="normal")
    arguments.add_argument("--over", default="tcp", choices=("tcp", "rtu-over-tcp", "tls", "rtu"))
    for name in ("--serial", "--certificate", "--key", "--ca"):
        arguments.add_argument(name)
    arguments.add_argument("--units", default="")
    arguments.add_argument("--silent-units", action="store_true")
    chosen = arguments.parse_args()
    table, device, state, action = build()
    further = [further_unit(int(unit), action) for unit in chosen.units.split(",") if unit]
    if chosen.silent_units:
        # pymodbus's own way of ignoring them knows only one of its two kinds of data stores.
        state.units = {1, *(int(unit) for unit in chosen.units.split(",") if unit)}
    state.set(chosen.mode.split(","))
    Handler.state = state
    port = await listen([device, *further], chosen)
    counters = [{"name": f"counter/{i}", "register": f"holding:{COUNTER_ADDRESS + 2 * i}", "type": "u32"}
                for i in range(COUNTERS)]
    print(json.dumps({"port": port, "streams": table.streams, "counters": counters}), flush=True)
    await obey(state)
    os._exit(0)


asyncio.run(main())

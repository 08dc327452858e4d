"""A Modbus TCP server with SunSpec devices for tests, and what SunSpec's own client reads from it.

    sunspec.py [--port PORT] [--seed SEED]

The devices come from the package pysunspec2, SunSpec's reference: its own two complete examples, and one that holds
every model that the package knows, filled by a generator. pymodbus serves them. Prints one line of JSON once it
listens: its port and the units.

Unit   what it is                                                             SunSpec at
   1   device_1547.json: an inverter of IEEE 1547-2018                         40000
   2   inverter_123.json, which refuses more than 20 registers in a request    50000
   3   every model, generated values, one that no definition knows             0
   4   the device of unit 1 under another number                               40000
   5   no SunSpec: holding 10 to 209 and 300 to 304, input 0 to 7, coils 0 to 15
   6   takes questions and never answers
   7   a chain of models without an end mark                                   40000
 any other: a gateway's word that the unit does not answer

Lines on standard input: "oracle UNIT" prints one line of JSON with all that pysunspec2's client reads of the unit. It
ends when its standard input ends.
"""

import argparse
import asyncio
import json
import os
import pathlib
import random
import struct
import sys

import sunspec2
from pymodbus.constants import ExcCodes
from pymodbus.pdu import ExceptionResponse
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice
from sunspec2 import mdef
from sunspec2.file.client import FileClientDevice
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

SUNSPEC = pathlib.Path(sunspec2.__file__).parent
MARK, END = b"SunS", b"\xff\xff\x00\x00"
SILENT_UNIT = 6
SMALL_REQUEST = 20
UNKNOWN_MODEL = 60_000

# Of each type: how it is packed, what may be in it, and what means "not implemented".
NUMBERS = {
    "int16": (">h", (-9_999, 9_999), -0x8000), "uint16": (">H", (0, 65_000), 0xFFFF),
    "acc16": (">H", (1, 65_000), 0), "enum16": (">H", (0, 20), 0xFFFF), "bitfield16": (">H", (0, 0x7FFF), 0xFFFF),
    "int32": (">i", (-(2**31) + 1, 2**31 - 1), -(2**31)), "uint32": (">I", (0, 2**32 - 2), 2**32 - 1),
    "acc32": (">I", (1, 2**32 - 1), 0), "enum32": (">I", (0, 20), 2**32 - 1), "bitfield32": (">I", (0, 2**31), 2**32 - 1),
    # The oracle computes with floats, which know no more digits than these.
    "int64": (">q", (-(2**49), 2**49), -(2**63)), "uint64": (">Q", (0, 2**49), 2**64 - 1), "acc64": (">Q", (1, 2**49), 0),
    "ipaddr": (">I", (1, 2**32 - 1), 0), "sunssf": (">h", (-5, 5), -0x8000),
}
MISSING_PERCENT = 15
REPEATS = 2


class Handler(ServerRequestHandler):
    """pymodbus's own handler, except that one unit never answers, and of one that is not there it says what a gateway
    to a serial line does."""

    units: list[int]

    def server_send(self, pdu, addr):
        if pdu is not None and pdu.dev_id not in self.units:
            code = ExcCodes.GATEWAY_NO_RESPONSE
            gone = ExceptionResponse(pdu.function_code & 0x7F, code, device_id=pdu.dev_id, transaction=pdu.transaction_id)
            super().server_send(gone, addr)
        elif pdu is None or pdu.dev_id != SILENT_UNIT:
            super().server_send(pdu, addr)


class Server(ModbusTcpServer):
    """pymodbus's own server, with the handler above."""

    def callback_new_connection(self):
        return Handler(self, self.trace_packet, self.trace_pdu, self.trace_connect)


class Generator:
    """Registers for any model, by its definition."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)

    def model(self, number: int) -> bytes:
        group = json.loads((SUNSPEC / "models" / "json" / mdef.to_json_filename(number)).read_text())["group"]
        body = self.group(group, skip=2)
        return struct.pack(">HH", number, len(body) // 2) + body

    def group(self, group: dict, skip: int = 0) -> bytes:
        counts = counts_in(group)
        data = b"".join(self.point(point, counts) for point in group["points"][skip:])
        for inner in group.get("groups", []):
            data += b"".join(self.group(inner) for _ in range(1 if inner.get("count", 1) == 1 else REPEATS))
        return data

    def point(self, point: dict, counts: set[str]) -> bytes:
        kind, size = point["type"], point["size"]
        is_missing = self.random.randrange(100) < MISSING_PERCENT
        if point["name"] in counts:
            return struct.pack(">H", REPEATS)
        if kind in NUMBERS:
            form, (low, high), missing = NUMBERS[kind]
            return struct.pack(form, missing if is_missing else self.random.randint(low, high))
        match kind:
            case "pad":
                return b"\x80\x00"
            case "count":
                return struct.pack(">H", REPEATS)
            case "float32":
                return struct.pack(">f", float("nan") if is_missing else self.random.uniform(-1e6, 1e6))
            case "float64":
                return struct.pack(">d", float("nan") if is_missing else self.random.uniform(-1e6, 1e6))
            case "string":
                text = "" if is_missing else "".join(self.random.choices("abcXYZ 0129-_é", k=size)).strip()
                return text.encode()[: 2 * size].decode(errors="ignore").strip().encode().ljust(2 * size, b"\0")
            case "eui48":
                return b"\0\0" + (b"\xff" * 6 if is_missing else self.random.randbytes(6))
            case "ipv6addr":
                return bytes(16) if is_missing else self.random.randbytes(16)
        raise SystemExit(f"sunspec.py: no values for the type {kind}")


def counts_in(group: dict) -> set[str]:
    """The points that say how often a group in this one comes."""
    counts = set()
    for inner in group.get("groups", []):
        if isinstance(inner.get("count"), str):
            counts.add(inner["count"])
        counts |= counts_in(inner)
    return counts


def example(name: str) -> bytes:
    """The models of one of the package's own devices."""
    device = FileClientDevice(str(SUNSPEC / "tests" / "test_data" / name))
    device.scan()
    return b"".join(model.get_mb() for model in device.model_list)


def every_model(seed: int) -> bytes:
    generator = Generator(seed)
    paths = (SUNSPEC / "models" / "json").glob("model_*.json")
    numbers = sorted(int(path.stem.removeprefix("model_")) for path in paths)
    models = [generator.model(number) for number in numbers]
    models.insert(40, struct.pack(">HH", UNKNOWN_MODEL, 5) + generator.random.randbytes(10))
    return b"".join(models)


def registers(at: int, data: bytes) -> SimData:
    words = list(struct.unpack(f">{len(data) // 2}H", data))
    return SimData(at, values=words, datatype=DataType.REGISTERS)


def device(number: int, at: int, data: bytes, action=None) -> SimDevice:
    # pymodbus wants something in each table.
    beside = [SimData(65_000, values=[False], datatype=DataType.BITS)]
    inputs = [SimData(65_000, values=[0], datatype=DataType.REGISTERS)]
    return SimDevice(number, simdata=(beside, beside, [registers(at, data)], inputs), action=action)


def plain_device(number: int) -> SimDevice:
    bits = [SimData(0, values=[True, False] * 8, datatype=DataType.BITS)]
    inputs = [SimData(0, values=[7] * 8, datatype=DataType.REGISTERS)]
    holding = [SimData(10, values=[1] * 200, datatype=DataType.REGISTERS),
               SimData(300, values=[2] * 5, datatype=DataType.REGISTERS)]
    beside = [SimData(65_000, values=[False], datatype=DataType.BITS)]
    return SimDevice(number, simdata=(bits, beside, holding, inputs))


async def refuse_long(_function, _start, _address, count, _registers, _values):
    return ExcCodes.ILLEGAL_VALUE if count > SMALL_REQUEST else None


def devices(seed: int) -> list[SimDevice]:
    first = MARK + example("device_1547.json") + END
    return [
        device(1, 40_000, first),
        device(2, 50_000, MARK + example("inverter_123.json") + END, refuse_long),
        device(3, 0, MARK + every_model(seed) + END),
        device(4, 40_000, first),
        plain_device(5),
        device(SILENT_UNIT, 0, b"\0\0"),
        device(7, 40_000, MARK + example("inverter_123.json")),
    ]


def exact(value):
    """A float as text: readers of JSON may take a neighbour of it."""
    return repr(value) if isinstance(value, float) else value


def flat(group, path: str = "") -> dict:
    """Every point of a group of pysunspec2, by its path."""
    points = {}
    for name, point in group.points.items():
        if point.pdef["type"] == "pad" or (not path and name in ("ID", "L")):
            continue
        points[path + name] = {"raw": exact(point.value), "value": exact(point.cvalue), "type": point.pdef["type"],
                               "address": group.model.model_addr + point.offset}
    for name, inner in group.groups.items():
        if isinstance(inner, list):
            for number, one in enumerate(inner, 1):
                points |= flat(one, f"{path}{name}/{number}/")
        else:
            points |= flat(inner, f"{path}{name}/")
    return points


def oracle(port: int, unit: int) -> dict:
    """What pysunspec2's client reads of a unit."""
    client = SunSpecModbusClientDeviceTCP(slave_id=unit, ipaddr="127.0.0.1", ipport=port, timeout=10)
    # Its own argument of this name is not passed on.
    client.client.max_count = SMALL_REQUEST
    client.scan()
    models = [
        {"id": model.model_id, "name": model.gname, "address": model.model_addr, "length": model.model_len,
         "error": model.error_info, "points": flat(model)}
        for model in client.model_list
    ]
    client.close()
    return {"base": client.base_addr, "models": models}


async def obey(port: int) -> None:
    """Questions to the oracle, until standard input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().split():
        if line[0] != "oracle":
            raise SystemExit(f"sunspec.py: no command {line[0]!r}")
        print(json.dumps(await asyncio.to_thread(oracle, port, int(line[1]))), flush=True)


async def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--seed", type=int, default=1)
    chosen = arguments.parse_args()
    all_devices = devices(chosen.seed)
    Handler.units = [device.id for device in all_devices]
    identity = ModbusDeviceIdentification(info_name={"VendorName": "Selvedge tests", "ProductCode": "sunspec.py",
                                                     "MajorMinorRevision": "1"})
    server = Server(all_devices, address=("127.0.0.1", chosen.port), identity=identity)
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]
    print(json.dumps({"port": port, "units": Handler.units}), flush=True)
    await obey(port)
    os._exit(0)


asyncio.run(main())

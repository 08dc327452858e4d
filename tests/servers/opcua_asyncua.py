"""An OPC-UA server for tests: a real asyncua server on the loopback interface, with the plant of opcua_plant.json.

    opcua_asyncua.py [--port PORT] [--security POLICIES] [--user NAME:PASSWORD] [--user-certificate FILE] [--anonymous]
                     [--keys FOLDER] [--large N]

Prints one line of JSON once it listens: its url, its namespaces, its certificate and that certificate's thumbprint,
the methods, and the variables ("nodes": how each is called here, its path, node id, type and value). It ends when its
standard input ends, so it never outlives the test that started it.

--port PORT           this port; without it a free one that can be taken again after a stop
--security POLICIES   of none, basic256sha256, aes128 (Aes128-Sha256-RsaOaep) and aes256 (Aes256-Sha256-RsaPss), each with
                      SignAndEncrypt, or with -sign at its end with Sign; default none
--user NAME:PASSWORD  who may log in; anonymous sessions are then refused, unless --anonymous is given
--user-certificate FILE  the certificate (PEM) of a user who may log in with it; anonymous sessions as above
--keys FOLDER         its key and certificate are kept there and found again; without it they are new at each start
--large N             N variables more, all in the folder Objects/Large

Lines on standard input; each is echoed once it holds, or answered with a line that begins with "error":
    set NAME JSON [TIME]   a new value, with the source time now or this one
    status NAME CODE       a status by its name: BadSensorFailure, UncertainLastUsableValue, Good
    count NAME MS          counts up by one each so many milliseconds; 0 stops that
    remove NAME            takes the node away; `add NAME` brings it back
    drop                   cuts all TCP connections
    stop, start, restart   takes the endpoint away; a new server, which knows no session, on the same port
    swap                   restart, with the namespaces in another order
    slow MS                publish answers are late by so much
    hang, go               connections stay and nothing is answered; answers again, to what was asked meanwhile too
    reject, trust          certificates of clients from now on
    get NAME               prints name, value and status as JSON
    clients                prints the thumbprints of clients seen, and the numbers of sessions, subscriptions and items
"""

import argparse
import asyncio
import json
import logging
import os
import sys
import warnings
from datetime import datetime, timezone
from pathlib import Path

import asyncua.server.server
from asyncua import Server, ua
from asyncua.common.callback import CallbackType
from asyncua.common.methods import uamethod
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.server.uaprocessor import UaProcessor
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

import opcua_plant
from opcua_plant import APPLICATION_URI, PLANT, called, node_id, plain, variant_of

POLICIES = {
    "none": ua.SecurityPolicyType.NoSecurity,
    "basic256sha256": ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    "basic256sha256-sign": ua.SecurityPolicyType.Basic256Sha256_Sign,
    "aes128": ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    "aes128-sign": ua.SecurityPolicyType.Aes128Sha256RsaOaep_Sign,
    "aes256": ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
    "aes256-sign": ua.SecurityPolicyType.Aes256Sha256RsaPss_Sign,
}


class Behaviour:
    """How the server treats its clients, and which it saw."""

    def __init__(self) -> None:
        self.slow_s = 0.0
        self.answers = asyncio.Event()
        self.answers.set()
        self.is_trusting = True
        self.seen: list[str] = []


BEHAVIOUR = None


class Processor(UaProcessor):
    """asyncua's own, except that publish answers may be late."""

    async def forward_publish_response(self, result, requestdata):
        if BEHAVIOUR.slow_s:
            await asyncio.sleep(BEHAVIOUR.slow_s)
        await super().forward_publish_response(result, requestdata)


class Protocol(OPCUAProtocol):
    """asyncua's own, except that it may stop to answer."""

    def connection_made(self, transport):
        super().connection_made(transport)
        if self.processor is not None:
            self.processor = Processor(self.iserver, self.transport, self.limits)
            self.processor.set_policies(self.policies)

    async def _process_one_msg(self, header, buf):
        await BEHAVIOUR.answers.wait()
        return await super()._process_one_msg(header, buf)


class Listener(BinaryServer):
    """asyncua's own, with the above."""

    def _make_protocol(self):
        return Protocol(self.iserver, self._policies, self.clients, self.closing_tasks, self.limits)


# There is no other way to hand one to asyncua's server.
asyncua.server.server.BinaryServer = Listener


class Users:
    """Who may log in."""

    def __init__(self, options: argparse.Namespace):
        self.user, self.certificate = options.user, None
        self.anonymous = options.anonymous or not (options.user or options.user_certificate)
        if options.user_certificate:
            pem = options.user_certificate.read_bytes()
            self.certificate = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)

    def tokens(self) -> list:
        """What a session may begin with."""
        tokens = [ua.UserNameIdentityToken] if self.user else []
        tokens += [ua.X509IdentityToken] if self.certificate else []
        return tokens + ([ua.AnonymousIdentityToken] if self.anonymous else [])

    def get_user(self, _server, username=None, password=None, certificate=None):
        # Of an anonymous session it is the certificate of the program.
        if self.certificate and certificate == self.certificate:
            return User(role=UserRole.User, name="by certificate")
        if username is None:
            return User(role=UserRole.User) if self.anonymous else None
        return User(role=UserRole.User, name=username) if f"{username}:{password}" == self.user else None


class Plant:
    """The variables of opcua_plant.json in one server, and what became of them."""

    def __init__(self, options: argparse.Namespace, port: int, key: bytes, certificate: x509.Certificate):
        self.options, self.port, self.key, self.certificate = options, port, key, certificate
        self.names = list(PLANT["namespaces"])
        self.variables = {called(entry): dict(entry) for entry in PLANT["variables"]}
        self.counting: dict[str, asyncio.Task] = {}
        self.server: Server | None = None

    async def start(self) -> None:
        """A new server: it knows neither sessions nor subscriptions of the one before, but the values."""
        users = Users(self.options)
        server = Server(user_manager=users)
        # The clock of the server writes each second; a node that nobody reads needs none.
        server.disable_clock()
        await server.init()
        await server.set_application_uri(APPLICATION_URI)
        server.name = "Selvedge test server (asyncua)"
        server.set_endpoint(f"opc.tcp://127.0.0.1:{self.port}/plant")
        server.set_security_policy([POLICIES[name] for name in self.options.security])
        server.set_identity_tokens(users.tokens())
        if self.options.security != ["none"]:
            await server.load_certificate(self.certificate.public_bytes(Encoding.DER), "der")
            await server.load_private_key(self.key, None, "pem")
        server.set_certificate_validator(judge_client)
        self.server = server
        self.index = {name: await server.register_namespace(PLANT["namespaces"][name]) for name in self.names}
        await self.build()
        await server.start()

    async def build(self) -> None:
        self.folders = {"": self.server.nodes.objects}
        for name, entry in self.variables.items():
            if not entry.get("gone"):
                await self.add(name)
        line = self.folders["Line1"]
        # A loop, as address spaces have them: a machine that points back at its line.
        await self.folders["Line1/Filler"].add_reference(line, ua.ObjectIds.HasComponent)
        await self.add_methods(self.folders["Line1/Filler"])
        if self.options.large:
            large = await self.server.nodes.objects.add_folder(ua.NodeId("Large", self.index["plant"]), "Large")
            for number in range(self.options.large):
                node = ua.NodeId(f"Large.V{number:05}", self.index["plant"])
                await large.add_variable(node, f"V{number:05}", number, ua.VariantType.UInt32)
        callbacks = self.server.iserver.callback_service
        callbacks.addListener(CallbackType.PreWrite, self.before_write)
        callbacks.addListener(CallbackType.PostWrite, self.after_write)

    async def folder(self, path: str):
        if path not in self.folders:
            above, _, name = path.rpartition("/")
            parent = await self.folder(above)
            node = ua.NodeId(path, self.index["plant"])
            # Line1 is a folder, machines in it are objects.
            add = parent.add_folder if above == "" else parent.add_object
            self.folders[path] = await add(node, ua.QualifiedName(name, self.index["plant"]))
        return self.folders[path]

    def node_id(self, name: str) -> ua.NodeId:
        entry = self.variables[name]
        return node_id(entry["id"], self.index[entry["ns"]])

    async def add(self, name: str) -> None:
        entry = self.variables[name]
        above, _, last = entry["path"].rpartition("/")
        kind = ua.VariantType[entry["type"]]
        node = await (await self.folder(above)).add_variable(
            self.node_id(name),
            ua.QualifiedName(last, self.index[entry["ns"]]),
            ua.Variant() if entry["value"] is None else ua.Variant(ua.get_default_value(kind), kind),
            datatype=ua.NodeId(getattr(ua.ObjectIds, entry["type"])),
        )
        if entry.get("array"):
            await node.write_value_rank(ua.ValueRank.OneDimension)
            await node.write_array_dimensions([0])
        if entry.get("access") == "write":
            await node.set_writable()
        if entry.get("access") == "none":
            for attribute in (ua.AttributeIds.AccessLevel, ua.AttributeIds.UserAccessLevel):
                await node.write_attribute(attribute, ua.DataValue(ua.Variant(0, ua.VariantType.Byte)))
        if unit := entry.get("unit"):
            information = ua.EUInformation(
                "http://www.opcfoundation.org/UA/units/un/cefact",
                unit["id"],
                ua.LocalizedText(unit["symbol"]),
                ua.LocalizedText(unit["symbol"]),
            )
            await node.add_property(0, "EngineeringUnits", information, datatype=ua.NodeId(ua.ObjectIds.EUInformation))
        if bounds := entry.get("range"):
            limits = ua.Range(float(bounds[0]), float(bounds[1]))
            await node.add_property(0, "EURange", limits, datatype=ua.NodeId(ua.ObjectIds.Range))
        await self.write(name)

    async def write(self, name: str) -> None:
        """Puts into the server what the table says."""
        entry = self.variables[name]
        if entry["value"] is None:
            # It never had a value; asyncua takes no null in place of a number.
            return
        variant = variant_of(entry)
        time = entry.get("time") or datetime.now(timezone.utc)
        status = ua.StatusCode(getattr(ua.StatusCodes, entry.get("status", "Good")))
        data = ua.DataValue(variant, status, time, datetime.now(timezone.utc))
        space = self.server.iserver.aspace
        (await space.write_attribute_value(self.node_id(name), ua.AttributeIds.Value, data)).check()

    async def add_methods(self, filler) -> None:
        index = self.index["plant"]
        double = ua.VariantType.Double

        @uamethod
        async def add(_parent, left, right):
            return left + right

        @uamethod
        async def set_target(_parent, value):
            self.variables["Filler.Target"].update(value=value, time=None)
            await self.write("Filler.Target")

        async def refuse(_parent):
            return ua.StatusCode(ua.StatusCodes.BadInvalidState)

        for name, function, inputs, outputs in (
            ("Add", add, [double, double], [double]),
            ("SetTarget", set_target, [double], []),
            ("Refuse", refuse, [], []),
        ):
            node = ua.NodeId(f"Filler.{name}", index)
            await filler.add_method(node, ua.QualifiedName(name, index), function, inputs, outputs)

    def before_write(self, event, _service=None) -> None:
        """Nothing is kept of what is written to a variable that is deaf."""
        deaf = {self.node_id(name) for name, entry in self.variables.items() if entry.get("deaf")}
        for one in event.request_params.NodesToWrite:
            if event.is_external and one.NodeId in deaf:
                name = next(name for name in self.variables if self.node_id(name) == one.NodeId)
                one.Value = ua.DataValue(ua.Variant(self.variables[name]["value"], one.Value.Value.VariantType))

    def after_write(self, event, _service=None) -> None:
        """The table follows what clients write, so that it is there after a restart."""
        by_node = {self.node_id(name): name for name in self.variables}
        for one, status in zip(event.request_params.NodesToWrite, event.response_params):
            if event.is_external and status.is_good() and one.NodeId in by_node:
                self.variables[by_node[one.NodeId]].update(value=plain(one.Value.Value.Value), time=None)

    async def remove(self, name: str) -> None:
        node = self.server.get_node(self.node_id(name))
        await self.server.delete_nodes([node, *await node.get_properties()])

    async def stop(self) -> None:
        if self.server is not None:
            cut(self.server)
            await self.server.stop()
            self.server = None

    async def count(self, name: str, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            entry = self.variables[name]
            entry.update(value=int(entry["value"]) + 1, time=None)
            if self.server is not None and not entry.get("gone"):
                await self.write(name)

    async def do(self, line: str) -> str | None:
        """Obeys one line. Returns what is printed in place of its echo."""
        word, *rest = line.split(" ", 2)
        if rest and rest[0] not in self.variables and word not in ("slow",):
            raise ValueError(f"no variable {rest[0]!r}; there are {', '.join(self.variables)}")
        match word:
            case "set":
                value, end = json.JSONDecoder().raw_decode(rest[1])
                if value is None:
                    raise ValueError("a variable cannot lose its value")
                time = rest[1][end:].strip()
                at = datetime.fromisoformat(time.replace("Z", "+00:00")) if time else None
                self.variables[rest[0]].update(value=value, time=at)
                await self.write(rest[0])
            case "status":
                getattr(ua.StatusCodes, rest[1])
                self.variables[rest[0]].update(status=rest[1], time=None)
                await self.write(rest[0])
            case "count":
                if task := self.counting.pop(rest[0], None):
                    task.cancel()
                if seconds := float(rest[1]) / 1000:
                    self.counting[rest[0]] = asyncio.create_task(self.count(rest[0], seconds))
            case "remove":
                self.variables[rest[0]]["gone"] = True
                await self.remove(rest[0])
            case "add":
                self.variables[rest[0]]["gone"] = False
                await self.add(rest[0])
            case "drop":
                cut(self.server)
            case "stop":
                await self.stop()
            case "start":
                await self.start()
            case "restart":
                await self.stop()
                await self.start()
            case "swap":
                await self.stop()
                self.names.reverse()
                await self.start()
            case "slow":
                BEHAVIOUR.slow_s = float(rest[0]) / 1000
            case "hang":
                BEHAVIOUR.answers.clear()
            case "go":
                BEHAVIOUR.answers.set()
            case "trust" | "reject":
                BEHAVIOUR.is_trusting = word == "trust"
            case "get":
                data = self.server.iserver.aspace.read_attribute_value(self.node_id(rest[0]), ua.AttributeIds.Value)
                value = None if data.Value is None else plain(data.Value.Value)
                return json.dumps({"name": rest[0], "value": value, "status": data.StatusCode.name})
            case "clients":
                subscriptions = self.server.iserver.subscription_service.subscriptions.values()
                items = sum(len(s.monitored_item_srv._monitored_items) for s in subscriptions)
                sessions = sum(1 for c in self.server.bserver.clients if c.processor.session is not None)
                counts = {"sessions": sessions, "subscriptions": len(subscriptions), "items": items}
                return json.dumps({"clients": BEHAVIOUR.seen, **counts})
            case _:
                raise ValueError(f"no command {word!r}")
        return None

    def described(self) -> dict:
        """The line that says that the server is ready."""
        uris = PLANT["namespaces"]
        der = self.certificate.public_bytes(Encoding.DER)
        methods = {
            name: {"object": f"nsu={uris['plant']};s=Line1/Filler", "method": f"nsu={uris['plant']};s=Filler.{name}"}
            for name in ("Add", "SetTarget", "Refuse")
        }
        return {
            "url": f"opc.tcp://127.0.0.1:{self.port}/plant",
            "port": self.port,
            "application_uri": APPLICATION_URI,
            "namespaces": ["http://opcfoundation.org/UA/", APPLICATION_URI, *(uris[name] for name in self.names)],
            "certificate": der.hex(),
            "thumbprint": self.certificate.fingerprint(hashes.SHA1()).hex(),
            "methods": methods,
            "nodes": [opcua_plant.described(name, entry) for name, entry in self.variables.items()],
        }


async def judge_client(certificate: x509.Certificate, _description) -> None:
    """Notes a client's certificate, and refuses it when none is to be trusted."""
    thumbprint = certificate.fingerprint(hashes.SHA1()).hex()
    if thumbprint not in BEHAVIOUR.seen:
        BEHAVIOUR.seen.append(thumbprint)
    if not BEHAVIOUR.is_trusting:
        raise ServiceError(ua.StatusCodes.BadCertificateUntrusted)


def cut(server: Server) -> None:
    """Ends all connections at once, without a word."""
    for transport in list(server.iserver.asyncio_transports):
        transport.abort()


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--security", default="none", type=lambda text: text.split(","))
    parser.add_argument("--user")
    parser.add_argument("--user-certificate", type=Path)
    parser.add_argument("--anonymous", action="store_true")
    parser.add_argument("--keys", type=Path)
    parser.add_argument("--large", type=int, default=0)
    return parser.parse_args()


async def main() -> None:
    global BEHAVIOUR
    BEHAVIOUR = Behaviour()
    # Refused clients and connections cut are what tests are made of; they are no news.
    logging.disable(logging.ERROR)
    # asyncua 2.1 forgets to tell subscribers that a node is gone (a coroutine that it never awaits).
    warnings.filterwarnings("ignore", message=".*was never awaited", category=RuntimeWarning)
    options = parsed()
    key, certificate = opcua_plant.key_and_certificate(options.keys)
    plant = Plant(options, options.port or opcua_plant.free_port(), key, certificate)
    await plant.start()
    print(json.dumps(plant.described()), flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := (await lines.readline()).decode().strip():
        try:
            said = await plant.do(line)
        except Exception as why:  # noqa: BLE001 - whatever it was, the test that said it must hear of it
            said = f"error {type(why).__name__}: {why}"
        print(line if said is None else said, flush=True)
    # The test is over: connections are not worth a farewell.
    os._exit(0)


asyncio.run(main())

"""For opcua_asyncua.py: what opcua_plant.json says as OPC-UA has it, and a server's port, key and certificate."""

import base64
import contextlib
import json
import os
import random
import socket
import uuid
from datetime import datetime, timezone
from pathlib import Path

from asyncua import ua
from asyncua.crypto.cert_gen import dump_private_key_as_pem, generate_private_key, generate_self_signed_app_certificate
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

APPLICATION_URI = "urn:selvedge:test:asyncua"
PLANT = json.loads((Path(__file__).parent / "opcua_plant.json").read_text(encoding="utf-8"))
# Below what Linux hands out for port 0 (from 32768 on).
STABLE_PORTS = range(20000, 30000)
# Types whose values JSON writes another way.
FROM_JSON = {
    "Int64": int,
    "UInt64": int,
    "Float": float,
    "Double": float,
    "DateTime": lambda text: datetime.fromisoformat(text.replace("Z", "+00:00")).replace(tzinfo=timezone.utc),
    "Guid": uuid.UUID,
    "ByteString": bytes.fromhex,
    "LocalizedText": ua.LocalizedText,
    "QualifiedName": lambda text: ua.QualifiedName(text, 0),
    "NodeId": ua.NodeId.from_string,
    "StatusCode": ua.StatusCode,
}


def variant_of(entry: dict) -> ua.Variant:
    """The value of an entry, as OPC-UA has it."""
    kind, value = ua.VariantType[entry["type"]], entry["value"]
    convert = FROM_JSON.get(entry["type"], lambda one: one)
    if entry.get("array"):
        return ua.Variant([convert(one) for one in value], kind, is_array=True)
    return ua.Variant() if value is None else ua.Variant(convert(value), kind)


def node_id(text: str, index: int) -> ua.NodeId:
    """The node id that is written so, in the namespace with this index."""
    kind, _, identifier = text.partition("=")
    convert = {"s": str, "i": int, "g": uuid.UUID, "b": base64.b64decode}[kind]
    return ua.NodeId(convert(identifier), index)


def called(entry: dict) -> str:
    """What the commands call a variable: its path below Line1, with dots."""
    return entry["path"].removeprefix("Line1/").replace("/", ".")


def described(name: str, entry: dict) -> dict:
    """A variable in the ready line."""
    return {
        "name": name,
        "path": f"Objects/{entry['path']}",
        "node": f"nsu={PLANT['namespaces'][entry['ns']]};{entry['id']}",
        "type": entry["type"],
        "array": bool(entry.get("array")),
        "value": entry["value"],
        "status": entry.get("status", "Good"),
        "unit": entry.get("unit", {}).get("ucum"),
        "access": entry.get("access", "read"),
    }


def plain(value):
    """A value as JSON has it, in the form of opcua_plant.json."""
    match value:
        case list():
            return [plain(one) for one in value]
        case bytes():
            return value.hex()
        case datetime():
            return value.isoformat()
        case float() if value != value or value in (float("inf"), float("-inf")):
            return str(value)
        case None | bool() | int() | float() | str():
            return value
    return getattr(value, "Text", None) or getattr(value, "Name", None) or getattr(value, "value", None) or str(value)


def free_port() -> int:
    """A port of STABLE_PORTS that is free, other for each process that looks."""
    ports = list(STABLE_PORTS)
    random.Random(os.getpid()).shuffle(ports)
    for port in ports:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise SystemExit("opcua_asyncua.py: no port is free")


def key_and_certificate(folder: Path | None) -> tuple[bytes, x509.Certificate]:
    """Those in the folder, or new ones, which are kept there."""
    if folder and (folder / "certificate.der").exists():
        certificate = x509.load_der_x509_certificate((folder / "certificate.der").read_bytes())
        return (folder / "key.pem").read_bytes(), certificate
    key = generate_private_key()
    names = [x509.UniformResourceIdentifier(APPLICATION_URI), x509.DNSName("localhost"), x509.DNSName("127.0.0.1")]
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = generate_self_signed_app_certificate(key, "selvedge test", {}, names, uses, 365)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "key.pem").write_bytes(dump_private_key_as_pem(key))
        (folder / "certificate.der").write_bytes(certificate.public_bytes(Encoding.DER))
    return dump_private_key_as_pem(key), certificate

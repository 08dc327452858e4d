"""Makes the table of SunSpec models that `selvedge adapter scan` carries.

    generate.py [--check FILE]

Reads the model definitions that the Python package pysunspec2 holds (Apache-2.0, SunSpec Alliance; the release that
tests/requirements.txt pins) and prints the table on standard output. With --check it prints nothing and exits with 1
when FILE is another table. The format is described in README.md beside this program.
"""

import argparse
import json
import pathlib
import sys
from importlib.metadata import version

import sunspec2

HEAD = f"""\
# SunSpec model definitions, made by edge-adapters/sunspec/generate.py from pysunspec2 {version("pysunspec2")}.
# Copyright SunSpec Alliance, licensed under the Apache License 2.0. Changed: shortened to what a scan needs.
"""
# A type without an entry here takes the registers that its definition says.
SIZES = {
    "int16": 1, "uint16": 1, "acc16": 1, "enum16": 1, "bitfield16": 1, "count": 1, "sunssf": 1, "pad": 1,
    "int32": 2, "uint32": 2, "acc32": 2, "enum32": 2, "bitfield32": 2, "float32": 2, "ipaddr": 2,
    "int64": 4, "uint64": 4, "acc64": 4, "float64": 4, "eui48": 4, "ipv6addr": 8,
}


def words(text) -> str:
    """One line, without what the format itself uses."""
    return " ".join(str(text).replace("\t", " ").replace(";", ",").split())


def line(*cells: str) -> str:
    return "\t".join(cells).rstrip("\t")


def point(definition: dict) -> str:
    kind, size = definition["type"], int(definition["size"])
    known = SIZES.get(kind)
    if known is None:
        kind += f":{size}"
    elif known != size:
        raise SystemExit(f"generate.py: {definition['name']}: a {kind} of {size} registers")
    label = words(definition.get("label", ""))
    symbols = ";".join(
        f"{symbol['value']}={words(symbol['name'])}"
        for symbol in definition.get("symbols", [])
        if "reserved" not in symbol["name"].lower()
    )
    return line(
        words(definition["name"]),
        kind,
        words(definition.get("sf", "")),
        words(definition.get("units", "")),
        "s" if definition.get("static") == "S" else "",
        "" if label == definition["name"] else label,
        symbols,
    )


def group(definition: dict, lines: list[str], skip: int = 0) -> None:
    lines.extend(point(definition) for definition in definition.get("points", [])[skip:])
    for inner in definition.get("groups", []):
        lines.append(line("{", words(inner["name"]), words(inner.get("count", 1)), words(inner.get("label", ""))))
        group(inner, lines)
        lines.append("}")


def table() -> str:
    folder = pathlib.Path(sunspec2.__file__).parent / "models" / "json"
    models = [json.loads(path.read_text("utf-8")) for path in folder.glob("model_*.json")]
    lines = []
    for model in sorted(models, key=lambda model: model["id"]):
        whole = model["group"]
        if [part["name"] for part in whole["points"][:2]] != ["ID", "L"]:
            raise SystemExit(f"generate.py: model {model['id']} does not begin with its id and its length")
        lines.append(line("=", str(model["id"]), words(whole["name"]), words(whole.get("label", ""))))
        group(whole, lines, skip=2)
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--check", type=pathlib.Path, metavar="FILE")
    file = arguments.parse_args().check
    if file is None:
        sys.stdout.write(table())
    elif file.read_text("utf-8") != table():
        raise SystemExit(f"generate.py: {file} is not what pysunspec2 {version('pysunspec2')} gives; make it anew")


main()

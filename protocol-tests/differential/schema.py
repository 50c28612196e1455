"""Kafka's message schemas, read from the kafka-clients jar of the oracle: any request to bytes, any response to values.

A codec of its own on purpose: neither Tifo's nor Kafka's takes part in judging what they sent. Field names are Kafka's in
lowerCamelCase, as its documentation writes them. A request may leave out what has a default; a field that the version does not have is left out.
"""
import json
import re
import struct
import uuid
import zipfile
from pathlib import Path

INTEGERS = {"int8": ">b", "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "float64": ">d"}
FIRST_FLEXIBLE_HEADERLESS = {"ApiVersions"}  # its response has header version 0 for ever (KIP-511)
NO_UUID = str(uuid.UUID(int=0))


class Versions:
    """A range such as `0-3`, `4+`, `7` or `none`."""

    def __init__(self, text):
        self.low, self.high = 0, -1
        if match := re.fullmatch(r"(\d+)(\+|-(\d+))?", text or ""):
            self.low = int(match[1])
            self.high = self.low if not match[2] else 1 << 15 if match[2] == "+" else int(match[3])

    def __contains__(self, version):
        return self.low <= version <= self.high

    def __iter__(self):
        return iter(range(self.low, self.high + 1))


def camel(name):
    return name[0].lower() + name[1:]


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        if size < 0 or self.at + size > len(self.data):
            raise ValueError(f"{size} bytes wanted at {self.at} of {len(self.data)}")
        self.at += size
        return self.data[self.at - size:self.at]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def unsigned(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value


def unsigned(value):
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


class Field:
    def __init__(self, raw, structs):
        self.name, self.type = camel(raw["name"]), raw["type"]
        self.versions, self.nullable = Versions(raw["versions"]), Versions(raw.get("nullableVersions"))
        self.tagged, self.tag = Versions(raw.get("taggedVersions")), raw.get("tag")
        self.flexible = Versions(raw["flexibleVersions"]) if "flexibleVersions" in raw else None
        self.element = self.type.removeprefix("[]")
        self.is_array = self.type.startswith("[]")
        fields = raw.get("fields")
        if fields is not None:
            structs[self.element] = fields
        nested = fields if fields is not None else structs.get(self.element)
        self.fields = None if nested is None else [Field(nested_raw, structs) for nested_raw in nested]
        self.default = self._default(raw.get("default"))

    def _default(self, given):
        if given in (None, "null"):
            if given == "null":
                return None
            if self.is_array:
                return []
            return {"string": "", "bytes": b"", "records": None, "bool": False, "uuid": NO_UUID}.get(
                self.element, None if self.fields else 0)
        if self.element in INTEGERS:
            return float(given) if self.element == "float64" else int(str(given), 0)
        return str(given).lower() == "true" if self.element == "bool" else given

    def write(self, value, version, flexible):
        if self.flexible is not None:
            flexible = version in self.flexible
        if self.is_array:
            if value is None:
                return b"\0" if flexible else struct.pack(">i", -1)
            items = b"".join(self._write_one(item, version, flexible) for item in value)
            return (unsigned(len(value) + 1) if flexible else struct.pack(">i", len(value))) + items
        return self._write_one(value, version, flexible)

    def _write_one(self, value, version, flexible):
        kind = self.element
        if kind in INTEGERS:
            return struct.pack(INTEGERS[kind], value)
        if kind == "bool":
            return b"\1" if value else b"\0"
        if kind == "uuid":
            return uuid.UUID(value).bytes
        if kind in ("string", "bytes", "records"):
            form = ">h" if kind == "string" else ">i"
            if value is None:
                return b"\0" if flexible else struct.pack(form, -1)
            data = value.encode() if isinstance(value, str) else value
            return (unsigned(len(data) + 1) if flexible else struct.pack(form, len(data))) + data
        marker = b""
        if not self.is_array and self.nullable.high >= 0:
            marker = struct.pack(">b", -1 if value is None else 1)
            if value is None:
                return marker
        return marker + write_struct(self.fields, value if value is not None else {}, version, flexible)

    def read(self, reader, version, flexible):
        if self.flexible is not None:
            flexible = version in self.flexible
        if self.is_array:
            count = reader.unsigned() - 1 if flexible else reader.number(">i")
            return None if count < 0 else [self._read_one(reader, version, flexible) for _ in range(count)]
        return self._read_one(reader, version, flexible)

    def _read_one(self, reader, version, flexible):
        kind = self.element
        if kind in INTEGERS:
            return reader.number(INTEGERS[kind])
        if kind == "bool":
            return reader.take(1) != b"\0"
        if kind == "uuid":
            return str(uuid.UUID(bytes=reader.take(16)))
        if kind in ("string", "bytes", "records"):
            size = reader.unsigned() - 1 if flexible else reader.number(">h" if kind == "string" else ">i")
            if size < 0:
                return None
            data = reader.take(size)
            return data.decode() if kind == "string" else data
        if not self.is_array and self.nullable.high >= 0 and reader.number(">b") < 0:
            return None
        return read_struct(self.fields, reader, version, flexible)


def write_struct(fields, values, version, flexible):
    unknown = set(values) - {field.name for field in fields}
    if unknown:
        raise KeyError(f"no field {sorted(unknown)}; there are {[field.name for field in fields]}")
    out, tagged = b"", []
    for field in fields:
        if version not in field.versions:
            continue
        value = values.get(field.name, field.default)
        if version not in field.tagged:
            out += field.write(value, version, flexible)
        elif field.name in values:
            data = field.write(value, version, flexible)
            tagged.append((field.tag, unsigned(field.tag) + unsigned(len(data)) + data))
    if flexible:
        out += unsigned(len(tagged)) + b"".join(data for _, data in sorted(tagged))
    return out


def read_struct(fields, reader, version, flexible):
    values, tags = {}, {}
    for field in fields:
        if version not in field.versions:
            continue
        if version in field.tagged:
            tags[field.tag] = field
        else:
            values[field.name] = field.read(reader, version, flexible)
    if flexible:
        for _ in range(reader.unsigned()):
            tag, size = reader.unsigned(), reader.unsigned()
            part = Reader(reader.take(size))
            field = tags.get(tag)
            values[field.name if field else f"tag{tag}"] = field.read(part, version, True) if field else part.data
    return values


class Message:
    """A request or a response over all its versions."""

    def __init__(self, raw):
        self.name, self.key = raw["name"], raw["apiKey"]
        self.valid, self.flexible = Versions(raw["validVersions"]), Versions(raw.get("flexibleVersions"))
        structs = {}
        for common in raw.get("commonStructs", []):
            structs[common["name"]] = common["fields"]
        self.fields = [Field(field, structs) for field in raw.get("fields", [])]

    def encode(self, values, version):
        return write_struct(self.fields, values, version, version in self.flexible)

    def decode(self, data, version):
        reader = Reader(data)
        values = read_struct(self.fields, reader, version, version in self.flexible)
        if reader.at != len(data):
            raise ValueError(f"{len(data) - reader.at} bytes behind the end of {self.name} v{version}")
        return values


class Api:
    def __init__(self, request, response):
        self.name, self.key = request.name.removesuffix("Request"), request.key
        self.request, self.response = request, response

    def frame(self, version, correlation_id, body):
        head = struct.pack(">hhi", self.key, version, correlation_id) + struct.pack(">h", 12) + b"differential"
        if version in self.request.flexible:
            head += b"\0"
        return head + body

    def answer(self, version, data):
        """The body of an answer, header taken off."""
        tagged_header = version in self.response.flexible and self.name not in FIRST_FLEXIBLE_HEADERLESS
        return self.response.decode(data[5:] if tagged_header else data[4:], version)


def load(oracle_dir):
    """Every API of the oracle's own jar, by name."""
    jar = next(Path(oracle_dir, "lib").glob("kafka-clients-*.jar"))
    messages = {}
    with zipfile.ZipFile(jar) as archive:
        for name in archive.namelist():
            if re.fullmatch(r"common/message/\w+(Request|Response)\.json", name):
                text = re.sub(r"^\s*//.*$|(?<=[\],}\"])\s+//.*$", "", archive.read(name).decode(), flags=re.MULTILINE)
                raw = json.loads(text)
                messages[raw["name"]] = Message(raw)
    names = [name.removesuffix("Request") for name in messages if name.endswith("Request")]
    return {name: Api(messages[f"{name}Request"], messages[f"{name}Response"]) for name in names}

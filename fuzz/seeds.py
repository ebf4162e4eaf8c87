"""Writes the first inputs of each fuzz target, made of the captured messages: seeds.py GOLDEN FOLDER"""

import base64
import bz2
import hashlib
import json
import lzma
import pathlib
import struct
import sys
import zlib

golden, out = map(pathlib.Path, sys.argv[1:])


def put(target, data):
    folder = out / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def typed(value, tag):
    """A header with the type it was captured with, as the targets read it."""
    return {"!" + tag: value} if tag in ("l", "T", "u", "i") else value


def body(captured):
    if "body_text" in captured:
        return captured["body_text"].encode()
    return base64.b64decode(captured["body_base64"])


def message(captured):
    types = captured.get("headers_amqp_types", {})
    headers = {name: typed(value, types.get(name, "S")) for name, value in captured.get("headers", {}).items()}
    return json.dumps({**captured.get("properties", {}), "headers": headers}).encode() + b"\n" + body(captured)


def short(text):
    data = text.encode()
    return bytes([len(data)]) + data


def field(value):
    if value is None:
        return b"V"
    if isinstance(value, bool):
        return b"t" + bytes([value])
    if isinstance(value, int):
        return b"I" + struct.pack(">i", value) if abs(value) < 1 << 31 else b"l" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"d" + struct.pack(">d", value)
    if isinstance(value, str):
        return b"S" + struct.pack(">I", len(value.encode())) + value.encode()
    inner = table(value) if isinstance(value, dict) else b"".join(map(field, value))
    return (b"F" if isinstance(value, dict) else b"A") + struct.pack(">I", len(inner)) + inner


def table(values):
    return b"".join(short(name) + field(value) for name, value in values.items())


def frame(kind, payload):
    return struct.pack(">BHI", kind, 1, len(payload)) + payload + b"\xce"


def frames(captured):
    headers, data = table(captured.get("headers", {})), body(captured)
    head = struct.pack(">HHQH", 60, 0, len(data), 1 << 15 | 1 << 14 | 1 << 13 | 1 << 10)
    head += short("application/json") + short("utf-8") + struct.pack(">I", len(headers)) + headers + short("id")
    put("wire", b"\x07" + frame(1, b"deliver") + frame(2, head) + frame(3, data[:400]))


for path in sorted(golden.glob("*/*.json")):
    captured = json.loads(path.read_text())
    if not isinstance(captured, dict):
        continue
    for publish in captured.get("messages", []):
        if publish.get("method") != "basic.publish" or "properties" not in publish:
            continue
        data, to = message(publish), publish["args"]
        if to["exchange"] == "" and to["routing_key"] == "celery":
            put("task", data)
        else:
            for kind in b"reca":
                put("messages", bytes([kind]) + data)
        put("messages", b"s" + body(publish))
        put("values", b"j" + body(publish))
        frames(publish)
    for command in captured.get("redis_commands", []):
        for argument in command["cmd"][1:]:
            if argument.startswith('{"body"'):
                put("values", b"e" + argument.encode())
                put("values", b"u[" + argument.encode() + b', "exchange", "key"]')
            elif argument.startswith("{"):
                put("messages", b"s" + argument.encode())
            elif argument.startswith("[1, "):
                put("messages", b"m" + argument.encode())
            elif "\x06\x16" in argument:
                put("values", b"t" + argument.encode() + b"\ncelery")

put("values", b"d" + b"any bytes" * 20)
text = b'[[1, "x"], {"k": 2.5}, {"callbacks": null}]' * 5
put("values", b"z" + zlib.compress(text))
put("values", b"z" + zlib.compress(b" " * 100_000))
gzip = zlib.compressobj(wbits=31)
put("values", b"z" + gzip.compress(text) + gzip.flush())
put("values", b"b" + bz2.compress(text))
put("values", b"b" + bz2.compress(b" " * 100_000))
put("values", b"l" + lzma.compress(text))
put("values", b"l" + lzma.compress(b" " * 100_000))
for line in [
    "2026-01-02T03:04:05.000006+00:00", "2026-01-02T03:04:05Z", "2026-01-02 03:04:05", "100/m", "1.5/h",
    "celery@*.example\ncelery@a.example", "cel[a-e]*\ncelery", "^celery@(a|b)+$\ncelery@a", "worker.#\nworker.online",
    "*.multi\ntask.multi",
]:
    put("values", b"t" + line.encode())
for kind, value in [
    ("datetime", "2026-01-02T03:04:05.000006-01:30"), ("date", "2026-01-02"), ("time", "03:04:05.000006"),
    ("decimal", "1.50"), ("uuid", {"hex": "0123456789abcdef0123456789abcdef"}), ("bytes", "x"), ("base64", "AP8="),
]:
    put("values", b"j" + json.dumps({"__type__": kind, "__value__": value}).encode())
for url in [
    "amqp://guest:s3cret@host:5672", "amqps://h", "amqp://a:b@[::1]:5671/%2fv", "redis://:s3cret@host:6379",
    "redis://u:p@h:6379/1?visibility_timeout=60&global_keyprefix=x&result_expires=5", "rediss://h/0?ssl_cert_reqs=required",
    "redis+socket:///run/redis.sock?virtual_host=2", "memory://", "memory+unix:///run/broker.sock",
]:
    put("wire", b"u" + url.encode())
deep = b"\x01nI\0\0\0\x07"
for level in range(40):
    deep = b"\x01aF" + struct.pack(">I", len(deep)) + deep
    if level % 8 == 7:
        head = struct.pack(">HHQH", 60, 0, 5, 1 << 13) + struct.pack(">I", len(deep)) + deep
        put("wire", b"\x03" + frame(2, head))


def local(kind, value):
    data = json.dumps(value).encode()
    put("local", kind + struct.pack(">I", len(data)) + data)


carried = {
    "content_type": "application/json", "content_encoding": "utf-8", "delivery_mode": 2, "priority": 3,
    "correlation_id": "i", "reply_to": "q", "expiration": "60000",
    "headers": {"task": "t", "half": 0.5, "large": 1 << 40, "list": [None, True, {"x": -1}]}, "body": "W10=",
}
route = {"exchange": "", "routing_key": "q"}
for call in [
    {"call": "publish", **route, "mandatory": True, "message": carried}, {"call": "declare-replies", "queue": "q"},
    {"call": "consume-replies", "queue": "q"}, {"call": "cancel-replies", "queue": "q"},
    {"call": "subscribe", "to": {"to": "control-replies", "client": "c"}},
    {"call": "subscribe", "to": {"to": "events", "id": "i", "binding": "task.#"}},
    {"call": "declare-broadcast", "exchange": "celeryev"},
]:
    local(b"r", {"id": 7, **call})
for answer in [
    {"kind": "done", "id": 7}, {"kind": "failed", "id": 7, "error": {"error": "unroutable", **route}},
    {"kind": "failed", "id": 7, "error": {"error": "refused", "reason": "r"}},
    {"kind": "failed", "id": 7, "error": {"error": "unavailable", "reason": "r"}},
    {"kind": "failed", "id": 7, "error": {"error": "timeout"}},
    {"kind": "delivery", "queue": "q", **route, "redelivered": False, "message": carried},
]:
    local(b"a", answer)
for line in [
    "* * * * *", "*/15 0-6,22 1,15 * mon-fri", "30 3 29 2 *", "0 0 31 1,3-12/2 sun,sat", "5-59/10 */2 * jan-dec 0-7", "1 2 3 4 5",
]:
    put("local", b"c" + line.encode())

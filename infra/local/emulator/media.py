"""Media the emulator makes (PNG, PCM) and what it can say about media it is sent."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
import zlib
from typing import Any

from infra.local.emulator.parsing import decode_bytes

SAMPLE_RATE = 24_000
PCM_MIME = f"audio/L16;codec=pcm;rate={SAMPLE_RATE}"

ASPECT = {"1:1": (16, 16), "16:9": (32, 18), "9:16": (18, 32), "4:3": (24, 18), "3:4": (18, 24), "3:2": (24, 16),
          "2:3": (16, 24), "4:5": (16, 20), "5:4": (20, 16), "21:9": (42, 18)}  # fmt: skip


def png(seed: str, aspect: str = "1:1") -> bytes:
    """A small valid RGB PNG whose colour comes from `seed` and whose sides have the aspect ratio."""
    width, height = ASPECT.get(aspect, (16, 16))
    colour = hashlib.sha256(seed.encode()).digest()[:3]
    rows = b"".join(b"\0" + colour * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, data) for kind, data in chunks)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pcm(seed: str, seconds: float) -> bytes:
    """A sine at a pitch taken from `seed`: 24 kHz, mono, signed 16 bit, little endian."""
    pitch = 220 + hashlib.sha256(seed.encode()).digest()[0]
    count = int(SAMPLE_RATE * seconds)
    step = 2 * math.pi * pitch / SAMPLE_RATE
    return struct.pack(f"<{count}h", *(int(8000 * math.sin(step * i)) for i in range(count)))


def inline(mime: str, data: bytes) -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime, "data": base64.b64encode(data).decode()}}


def describe(part: dict[str, Any]) -> str:
    """A media part in words: MIME type, decoded size, and the pixel size of a PNG or JPEG; "" for other parts."""
    if "fileData" in part:
        file = part["fileData"]
        return f"[{file.get('mimeType', 'file')} at {file.get('fileUri', '')}]"
    if "inlineData" not in part:
        return ""
    blob = part["inlineData"]
    data = decode_bytes(blob.get("data", ""))
    size = pixels(data)
    shown = f" {size[0]}x{size[1]}" if size else ""
    return f"[{blob.get('mimeType', '')} {len(data)} bytes{shown}]"


def pixels(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG or JPEG, else None."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data[:2] == b"\xff\xd8":
        return _jpeg_pixels(data)
    return None


def _jpeg_pixels(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + length
    return None


def embedding(text: str, dimensions: int) -> list[float]:
    """A deterministic unit vector for `text`."""
    values: list[float] = []
    counter = 0
    while len(values) < dimensions:
        digest = hashlib.sha256(f"{counter}\0{text}".encode()).digest()
        values.extend((byte - 127.5) / 127.5 for byte in digest)
        counter += 1
    values = values[:dimensions]
    norm = math.sqrt(sum(value * value for value in values)) or 1.0
    return [round(value / norm, 9) for value in values]

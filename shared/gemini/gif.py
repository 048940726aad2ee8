"""The first frame of a GIF as a PNG, for models that take no GIF. Pure and bounded; in plain Python some million pixels
a second, so that no image library has to be deployed. Imported only where a GIF arrives.

Formats: CompuServe's GIF89a specification of 1990, and PNG (RFC 2083). The picture is what an animation shows first, on
its whole canvas: where the frame does not reach it is transparent, or of colour 0 without a transparent one, as Pillow
draws it.
"""

import struct
import zlib

from msgspec import Struct

MAX_PIXELS = 4_000_000

_CANVAS = struct.Struct("<6sHHBBB")
_IMAGE = struct.Struct("<HHHHB")
_EXTENSION, _SEPARATOR, _CONTROL, _PADDING = 0x21, 0x2C, 0xF9, 0x00
_MOST_CODES = 4096  # of 12 bits
# Interlaced rows come in four passes: from this row on, every so many rows.
_PASSES = ((0, 8), (4, 8), (2, 4), (1, 2))
_GREYS = bytes(level for level in range(256) for _ in "RGB")


class BadGif(ValueError):
    """The data is no GIF that can be shown; the message says why and holds none of the data."""


class TooManyPixels(BadGif):
    """The picture is larger than it may be; nothing was decoded."""


class _Frame(Struct, frozen=True):
    """Where the first frame stands on its canvas, and its pixels still packed."""

    left: int
    top: int
    width: int
    height: int
    interlaced: bool
    palette: bytes
    transparent: int | None
    code_size: int
    packed: bytes


def first_frame_png(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[bytes, int]:
    """(PNG with a palette, its number of pixels). Raises `TooManyPixels` before any work on them, `BadGif` for data
    that is cut off or wrong."""
    try:
        canvas_width, canvas_height, frame = _read(data)
    except (struct.error, IndexError) as error:
        raise BadGif("The GIF is cut off.") from error
    # a frame may reach beyond its canvas, which then grows
    width, height = max(canvas_width, frame.left + frame.width), max(canvas_height, frame.top + frame.height)
    if not frame.width or not frame.height:
        raise BadGif("The GIF's first frame is empty.")
    if width * height > max_pixels:
        raise TooManyPixels(f"The GIF has {width} x {height} pixels, more than {max_pixels}.")
    pixels = _unpacked(frame.packed, frame.code_size, frame.width * frame.height)
    if frame.interlaced:
        pixels = _deinterlaced(pixels, frame.width, frame.height)
    return _png(width, height, frame, pixels), width * height


def _read(data: bytes) -> tuple[int, int, _Frame]:
    """(canvas width, canvas height, first frame). IndexError and struct.error where the data ends early."""
    magic, width, height, flags, _, _ = _CANVAS.unpack_from(data)
    if magic not in (b"GIF87a", b"GIF89a"):
        raise BadGif("The data is no GIF.")
    palette, at = _palette(data, _CANVAS.size, flags)
    transparent: int | None = None
    while data[at] != _SEPARATOR:
        if data[at] == _EXTENSION:
            label, (block, at) = data[at + 1], _blocks(data, at + 2)
            if label == _CONTROL and len(block) >= 4:
                transparent = block[3] if block[0] & 1 else None
        elif data[at] == _PADDING:  # some encoders end a block twice
            at += 1
        else:
            raise BadGif("The GIF has no frame, or an unknown block before it.")
    left, top, frame_width, frame_height, flags = _IMAGE.unpack_from(data, at + 1)
    own, at = _palette(data, at + 1 + _IMAGE.size, flags)
    code_size = data[at]
    if not 2 <= code_size <= 8:  # pictures of one bit have two here too
        raise BadGif("The GIF's pixels have an impossible size.")
    packed, _ = _blocks(data, at + 1, to_the_end=True)
    frame = _Frame(
        left, top, frame_width, frame_height, bool(flags & 64), own or palette, transparent, code_size, packed
    )
    return width, height, frame


def _palette(data: bytes, at: int, flags: int) -> tuple[bytes, int]:
    """(the colour table that the flags announce, the place after it)."""
    size = 3 << (flags & 7) + 1 if flags & 128 else 0
    palette = data[at : at + size]
    if len(palette) < size:
        raise BadGif("The GIF is cut off.")
    return palette, at + size


def _blocks(data: bytes, at: int, *, to_the_end: bool = False) -> tuple[bytes, int]:
    """(the joined sub-blocks from here on, the place after their end). `to_the_end`: the data may stop without the mark
    of their end, since the pixels themselves tell whether they are whole."""
    pieces: list[bytes] = []
    while at < len(data) or not to_the_end:
        size = data[at]
        if not size:
            break
        pieces.append(data[at + 1 : at + 1 + size])
        at += 1 + size
    return b"".join(pieces), at + 1


def _unpacked(packed: bytes, code_size: int, wanted: int) -> bytes:
    """Exactly `wanted` pixels, one byte each, by GIF's variant of LZW. The work is bounded by the data and by `wanted`:
    an entry is one longer than an earlier one, and decoding stops with the pixel that completes the frame."""
    clear, end = 1 << code_size, (1 << code_size) + 1
    table = [bytes((pixel,)) for pixel in range(clear)] + [b"", b""]
    out = bytearray()  # a list of the entries would take ten times the memory
    previous = b""
    width = code_size + 1
    mask, grows_at = (1 << width) - 1, 1 << width
    buffer = bits = 0
    for byte in packed:
        buffer |= byte << bits
        bits += 8
        while bits >= width:
            code = buffer & mask
            buffer >>= width
            bits -= width
            if code == clear:
                del table[end + 1 :]
                previous, width = b"", code_size + 1
                mask, grows_at = (1 << width) - 1, 1 << width
                continue
            if code < len(table) and code != end:
                entry = table[code]
            elif code == len(table) and previous:
                entry = previous + previous[:1]
            else:
                raise BadGif("The GIF's pixels end early or are garbled.")
            out += entry
            if len(out) >= wanted:
                return bytes(out[:wanted])
            if previous and len(table) < _MOST_CODES:
                table.append(previous + entry[:1])
                if len(table) == grows_at < _MOST_CODES:
                    width += 1
                    mask, grows_at = (1 << width) - 1, 1 << width
            previous = entry
    raise BadGif("The GIF is cut off.")


def _deinterlaced(pixels: bytes, width: int, height: int) -> bytes:
    rows = [b""] * height
    at = 0
    for first, step in _PASSES:
        for row in range(first, height, step):
            rows[row] = pixels[at : at + width]
            at += width
    return b"".join(rows)


def _png(width: int, height: int, frame: _Frame, pixels: bytes) -> bytes:
    """Colour type 3, eight bits a pixel: the packing of smaller ones is left to the compression."""
    colours = max(len(frame.palette) // 3, 1 << frame.code_size)  # every index that a pixel can have
    # Without any table the pixels are greys, and one beyond its table is black, as with Pillow.
    palette = frame.palette.ljust(colours * 3, b"\0") if frame.palette else _GREYS[: colours * 3]
    fill, clear = 0, b""
    if frame.transparent is not None and frame.transparent < colours:
        fill, clear = frame.transparent, b"\xff" * frame.transparent + b"\0"
    chunks = [
        _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        _chunk(b"PLTE", palette),
        _chunk(b"tRNS", clear) if clear else b"",
        _chunk(b"IDAT", zlib.compress(_scanlines(width, height, frame, pixels, fill), 6)),
        _chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _scanlines(width: int, height: int, frame: _Frame, pixels: bytes, fill: int) -> bytes:
    """The rows of the whole canvas, each after its filter byte, which is none."""
    empty = bytes((fill,))
    before, after = b"\0" + empty * frame.left, empty * (width - frame.left - frame.width)
    blank = b"\0" + empty * width
    span = frame.width
    rows = [before + pixels[at : at + span] + after for at in range(0, span * frame.height, span)]
    return b"".join([blank * frame.top, *rows, blank * (height - frame.top - frame.height)])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

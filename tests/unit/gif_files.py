"""GIF files as no library writes them: every block in the test's hand."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass


def packed(pixels: Sequence[int], code_size: int, *, clears_when_full: bool = True) -> bytes:
    """LZW. Without a clear code at the full table the codes stay at twelve bits, which the format allows."""
    clear, end = 1 << code_size, (1 << code_size) + 1
    codes: list[tuple[int, int]] = [(clear, code_size + 1)]
    table = {bytes((pixel,)): pixel for pixel in range(clear)}
    width, following, run = code_size + 1, end + 1, b""
    for pixel in pixels:
        longer = run + bytes((pixel,))
        if longer in table:
            run = longer
            continue
        codes.append((table[run], width))
        run = bytes((pixel,))
        if following < 4096:
            table[longer] = following
            following += 1
            width = max(width, (following - 1).bit_length())
        elif clears_when_full:
            codes.append((clear, width))
            table = {bytes((pixel,)): pixel for pixel in range(clear)}
            width, following = code_size + 1, end + 1
    if run:
        codes.append((table[run], width))
    codes.append((end, width))
    return bits(codes)


def bits(codes: Sequence[tuple[int, int]]) -> bytes:
    """(code, its width in bits), lowest bit first."""
    number = shift = 0
    out = bytearray()
    for code, width in codes:
        number |= code << shift
        shift += width
        while shift >= 8:
            out.append(number & 255)
            number >>= 8
            shift -= 8
    return bytes(out) + (bytes((number,)) if shift else b"")


def blocks(data: bytes, size: int = 255) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(bytes((len(piece),)) + piece for piece in pieces) + b"\0"


def table_flags(palette: bytes) -> int:
    """Palettes are three times a power of two long, or empty."""
    return 128 | ((len(palette) // 3).bit_length() - 2) if palette else 0


@dataclass(frozen=True)
class Gif:
    """One frame; `pixels` row by row as they are shown."""

    width: int
    height: int
    pixels: Sequence[int]
    code_size: int = 2
    palette: bytes = b""
    local_palette: bytes = b""
    canvas: tuple[int, int] | None = None
    at: tuple[int, int] = (0, 0)
    transparent: int | None = None
    interlaced: bool = False
    before: bytes = b""  # further blocks
    after: bytes = b";"
    block_size: int = 255
    clears_when_full: bool = True
    version: bytes = b"GIF89a"

    def rows(self) -> list[int]:
        """The pixels in the order of the file."""
        if not self.interlaced:
            return list(self.pixels)
        passes = ((0, 8), (4, 8), (2, 4), (1, 2))
        order = [row for first, step in passes for row in range(first, self.height, step)]
        return [pixel for row in order for pixel in self.pixels[row * self.width : (row + 1) * self.width]]

    @property
    def data(self) -> bytes:
        canvas = self.canvas or (self.width, self.height)
        control = b""
        if self.transparent is not None:
            control = b"!\xf9" + blocks(struct.pack("<BHB", 1, 0, self.transparent))
        frame = struct.pack(
            "<HHHHB",
            *self.at,
            self.width,
            self.height,
            table_flags(self.local_palette) | (64 if self.interlaced else 0),
        )
        lzw = packed(self.rows(), self.code_size, clears_when_full=self.clears_when_full)
        return b"".join(
            [
                self.version + struct.pack("<HHBBB", *canvas, table_flags(self.palette), 0, 0) + self.palette,
                self.before + control + b"," + frame + self.local_palette,
                bytes((self.code_size,)) + blocks(lzw, self.block_size) + self.after,
            ]
        )

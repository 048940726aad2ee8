"""First frames of GIFs against Pillow, which is the judge of every pixel."""

import io
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shared.gemini.gif import MAX_PIXELS, BadGif, TooManyPixels, first_frame_png
from tests.unit.gif_files import Gif, bits, blocks

RED_AND_BLUE = b"\xff\0\0\0\0\xff"
FOUR = bytes(range(12))
COMMENT = b"!\xfe" + blocks(b"a remark")
LOOP = b"!\xff" + blocks(b"NETSCAPE2.0", 11)[:-1] + blocks(b"\x01\0\0")


def shown(data: bytes) -> tuple[tuple[int, int], bytes]:
    """(size, RGBA) as Pillow shows the first picture of a file."""
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture.size, picture.convert("RGBA").tobytes()


def check(data: bytes) -> None:
    png, pixels = first_frame_png(data)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    with Image.open(io.BytesIO(png)) as picture:
        picture.verify()
    size, rgba = shown(png)
    assert (size, rgba) == shown(data)
    assert pixels == size[0] * size[1]


@st.composite
def gifs(draw: st.DrawFn) -> Gif:
    """Frames of every depth, on, off and beyond their canvas."""
    width, height = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    code_size = draw(st.integers(2, 8))
    seed = random.Random(draw(st.integers(0, 2**32)))
    repetitive = draw(st.booleans())
    pixels = [seed.randrange(1 << code_size) // (3 if repetitive else 1) for _ in range(width * height)]

    def palette(entries: int) -> bytes:
        return seed.randbytes(3 * entries)

    tables = st.sampled_from([0, 2, 4, 1 << code_size, 256])
    return Gif(
        width,
        height,
        pixels,
        code_size,
        palette=palette(draw(tables)),
        local_palette=palette(draw(tables)),
        canvas=draw(st.none() | st.tuples(st.integers(0, 40), st.integers(0, 40))),
        at=(draw(st.integers(0, 9)), draw(st.integers(0, 9))),
        transparent=draw(st.none() | st.integers(0, (1 << code_size) - 1)),
        interlaced=draw(st.booleans()),
        before=draw(st.sampled_from([b"", COMMENT, LOOP, COMMENT + LOOP])),
        after=draw(st.sampled_from([b";", b"", b"!\xf9" + blocks(b"\x01\0\0\0") + b",further frames"])),
        block_size=draw(st.sampled_from([1, 7, 255])),
        version=draw(st.sampled_from([b"GIF87a", b"GIF89a"])),
    )


@settings(max_examples=300, deadline=None)
@given(gifs())
def test_every_kind_of_first_frame_has_pillows_pixels(gif):
    check(gif.data)


@pytest.mark.parametrize("clears_when_full", [True, False])
@pytest.mark.parametrize("code_size", [2, 8])
def test_tables_that_fill_up(code_size, clears_when_full):
    seed = random.Random(code_size)
    pixels = [seed.randrange(1 << code_size) for _ in range(160 * 120)]
    check(Gif(160, 120, pixels, code_size, seed.randbytes(768), clears_when_full=clears_when_full).data)


@pytest.mark.parametrize("depth", range(1, 9))
@pytest.mark.parametrize("interlace", [False, True])
def test_what_pillow_writes(depth, interlace):
    seed = random.Random(depth)
    frames = []
    for number in range(3):
        frame = Image.frombytes("P", (61, 43), bytes(seed.randrange(1 << depth) for _ in range(61 * 43)))
        frame.putpalette(seed.randbytes(3 << depth))
        frame.info["number"] = number
        frames.append(frame)
    for more in ({}, {"transparency": 1}, {"save_all": True, "append_images": frames[1:], "disposal": 2, "loop": 0}):
        out = io.BytesIO()
        frames[0].save(out, "GIF", interlace=interlace, **more)
        check(out.getvalue())


def test_photographs_keep_their_size_and_get_smaller():
    seed = random.Random(5)
    picture = Image.effect_noise((320, 240), 30).convert("RGB").quantize(128)
    picture.paste(seed.randrange(128), (0, 0, 160, 240))
    out = io.BytesIO()
    picture.save(out, "GIF")
    check(out.getvalue())
    assert len(first_frame_png(out.getvalue())[0]) < len(out.getvalue())


def test_a_single_colour_is_cheap_both_ways():
    png, pixels = first_frame_png(Gif(1500, 1000, [1] * 1_500_000, 2, FOUR).data)
    assert pixels == 1_500_000
    assert len(png) < 4000


@settings(max_examples=200, deadline=None)
@given(gifs(), st.data())
def test_damaged_files_are_refused_or_still_shown(gif, data):
    """Cut off or with flipped bytes: a picture or BadGif, never another error, and never more than is allowed."""
    damaged = bytearray(gif.data)
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    try:
        png, pixels = first_frame_png(bytes(damaged), max_pixels=10_000)
    except BadGif:
        return
    assert pixels <= 10_000
    assert len(shown(png)[1]) == 4 * pixels


def test_every_place_where_a_file_can_be_cut_off():
    whole = Gif(5, 4, [0, 1] * 10, 2, RED_AND_BLUE, RED_AND_BLUE, before=COMMENT, transparent=1, after=b"").data
    # the end of the pixels and of their blocks may be missing: the last pixel's code may stand four bytes from the end
    for length in range(len(whole) - 4):
        with pytest.raises(BadGif):
            first_frame_png(whole[:length])
    check(whole)


def built(codes: bytes, code_size: int = 2, width: int = 4, height: int = 4) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x81, 0, 0) + FOUR
    return head + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + bytes((code_size,)) + blocks(codes) + b";"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        b"GIF90a" + bytes(20),
        b"\x89PNG\r\n\x1a\n" + bytes(20),
        b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + b";",
        b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + b"?",
        Gif(0, 4, [], 2, FOUR).data,
        built(b"", 1),
        built(b"", 9),
        built(bits([(4, 3), (5, 3)])),  # ends at once
        built(bits([(7, 3)])),  # a code that nothing made
        built(bits([(4, 3), (6, 3)])),  # the next code, with nothing before it
        built(bits([(4, 3), (1, 3), (7, 3)])),
        built(bits([(4, 3)] * 4000)),  # only beginnings
    ],
)
def test_what_is_wrong_is_refused(data):
    with pytest.raises(BadGif) as caught:
        first_frame_png(data)
    assert str(caught.value).endswith(".")


def test_bombs_are_refused_before_a_pixel_is_unpacked(monkeypatch):
    def unpacked(*_: object) -> bytes:
        raise AssertionError("unpacked")

    monkeypatch.setattr("shared.gemini.gif._unpacked", unpacked)
    assert MAX_PIXELS < 2001 * 2000
    for width, height in ((65535, 65535), (2001, 2000)):
        with pytest.raises(TooManyPixels):
            first_frame_png(built(b"\x84", width=width, height=height))
    with pytest.raises(TooManyPixels):  # a small frame far out on a small canvas
        first_frame_png(Gif(1, 1, [0], 2, FOUR, canvas=(1, 1), at=(65000, 65000)).data)


def test_the_limit_is_inclusive():
    data = Gif(10, 10, [0] * 100, 2, FOUR).data
    assert first_frame_png(data, max_pixels=100)[1] == 100
    with pytest.raises(TooManyPixels):
        first_frame_png(data, max_pixels=99)

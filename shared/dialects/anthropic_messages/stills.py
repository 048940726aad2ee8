"""Animations as still pictures: Anthropic's API takes GIF, Gemini's documents do not name it."""

import binascii

from shared.dialects.anthropic_messages.fields import invalid
from shared.gemini.types import Part

MAX_GIF_PIXELS = 16_000_000  # of one request: unpacking them is work, and a bomb of many small files is still one


class Stills:
    """Converts the GIFs of one request, all of its history included."""

    def __init__(self) -> None:
        self._pixels_left = MAX_GIF_PIXELS

    def still(self, part: Part, where: str) -> Part:
        """The first frame of a GIF as a PNG part, any other part as it is. Raises invalid_request for a GIF that cannot
        be shown, or for more pixels than a request may have."""
        blob = part.get("inlineData")
        if not blob or blob["mimeType"] != "image/gif":
            return part
        # here, not above: hardly any request brings a GIF, and every cold start would pay for the decoder
        from shared.gemini.gif import MAX_PIXELS, BadGif, TooManyPixels, first_frame_png

        try:
            png, pixels = first_frame_png(binascii.a2b_base64(blob["data"]), min(MAX_PIXELS, self._pixels_left))
        except TooManyPixels as error:
            if self._pixels_left < MAX_PIXELS:
                raise invalid(f"The GIFs of one request have more than {MAX_GIF_PIXELS} pixels", where) from error
            raise invalid(f"The GIF has more than {MAX_PIXELS} pixels: send PNG, JPEG or WebP", where) from error
        except BadGif as error:
            raise invalid(f"{error} Send PNG, JPEG or WebP", where) from error
        self._pixels_left -= pixels
        return {"inlineData": {"mimeType": "image/png", "data": binascii.b2a_base64(png, newline=False).decode()}}

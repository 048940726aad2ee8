"""A transcript's segments as SubRip and WebVTT."""

from collections.abc import Sequence

from msgspec import Struct


class Segment(Struct, frozen=True):
    """A stretch of speech; `start` and `end` in seconds from the beginning. `speaker` is "" where nobody asked."""

    start: float
    end: float
    text: str
    speaker: str = ""


def srt(segments: Sequence[Segment]) -> str:
    return "".join(
        f"{number}\n{_clock(item.start, ',')} --> {_clock(item.end, ',')}\n{_cue(item.text)}\n\n"
        for number, item in enumerate(segments, 1)
    )


def vtt(segments: Sequence[Segment]) -> str:
    cues = (
        f"{_clock(item.start, '.')} --> {_clock(item.end, '.')}\n{_escaped(_cue(item.text))}\n\n" for item in segments
    )
    return "WEBVTT\n\n" + "".join(cues)


def _clock(seconds: float, point: str) -> str:
    """`00:01:02,345`; players accept it with hours only."""
    milliseconds = max(0, round(seconds * 1000))
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _cue(text: str) -> str:
    """Without empty lines, which end a cue, and without the arrow, which begins one."""
    lines = [line.strip() for line in text.splitlines()]
    return "\n".join(line for line in lines if line).replace("-->", "->")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")

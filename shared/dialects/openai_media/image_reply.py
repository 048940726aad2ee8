"""Pictures as OpenAI answers them: one body, or a stream of drafts and finished pictures."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared.dialects.contract import ReplyContext
from shared.dialects.openai_media.errors import MODERATED, NO_PICTURE, error_frame
from shared.dialects.openai_media.images import ImageJob
from shared.errors import GatewayError
from shared.events import BlockDelta, BlockStart, Draft, End, Event, Media, Usage
from shared.json_codec import encode
from shared.sse import frame

_LONGEST_TEXT: Final = 500  # of the model's own words in an error message


class Picture:
    """What one call brings: its last picture is the answer, those before it are drafts."""

    def __init__(self) -> None:
        self.image: Media | None = None
        self.end: End | None = None
        self._blocks: set[int] = set()
        self._words: list[str] = []

    def feed(self, event: Event) -> Media | None:
        """A picture that turned out to be a draft."""
        match event:
            case Draft():
                return event
            case Media():
                draft, self.image = self.image, event
                return draft
            case BlockStart(index=index, kind="text"):
                self._blocks.add(index)
            case BlockDelta(index=index, text=text) if index in self._blocks:
                self._words.append(text)
            case End():
                self.end = event
        return None

    def missing(self) -> GatewayError:
        """Why an answer without a picture is the caller's to change."""
        end, words = self.end, "".join(self._words).strip()[:_LONGEST_TEXT]
        if end is not None and end.finish == "blocked":
            said = end.message or words
            message = f"The image was blocked by the upstream's policy ({end.reason})."
            return GatewayError("invalid_request", f"{message} {said}".strip(), reason=MODERATED)
        reason = end.reason if end else "no answer"
        said = words or (end.message if end else None) or f"It ended with {reason}."
        return GatewayError("invalid_request", f"The model made no image. {said}", reason=NO_PICTURE)


def image_usage(usage: Usage) -> dict[str, Any]:
    """`output_tokens` holds the thoughts; OpenAI has slots for text and images only."""
    images_in, images_out = usage.prompt_modalities.get("IMAGE", 0), usage.output_modalities.get("IMAGE", 0)
    return {
        "input_tokens": usage.input_total,
        "input_tokens_details": {"text_tokens": usage.input_total - images_in, "image_tokens": images_in},
        "output_tokens": usage.output_total,
        "output_tokens_details": {"text_tokens": usage.output_total - images_out, "image_tokens": images_out},
        "total_tokens": usage.input_total + usage.output_total,
    }


def images_body(pictures: Sequence[Picture], job: ImageJob, reply: ReplyContext, usage: Usage) -> Mapping[str, Any]:
    """OpenAI's object of the pictures that were made; raises what the first one lacks where there is none."""
    images = [picture.image for picture in pictures if picture.image is not None]
    if not images:
        raise pictures[0].missing()
    body: dict[str, Any] = {
        "created": reply.created,
        "background": "opaque",
        "data": [{"b64_json": image.data} for image in images],
        "output_format": _format(images[0]),
        "usage": image_usage(usage),
    }
    return body | {name: said for name, said in (("size", job.size), ("quality", job.quality)) if said != "auto"}


class ImageRenderer:
    """Frames of a stream, by the call (`choice`) that an event belongs to."""

    def __init__(self, job: ImageJob, reply: ReplyContext) -> None:
        self._job = job
        self._reply = reply
        self._pictures = [Picture() for _ in range(job.count)]
        self._drafts = [0] * job.count

    def feed(self, event: Event, choice: int = 0) -> bytes:
        picture = self._pictures[choice]
        draft = picture.feed(event)
        if draft is not None and self._drafts[choice] < self._job.partial_images:
            number = self._drafts[choice]
            self._drafts[choice] += 1
            return self._frame("partial_image", draft, {"partial_image_index": number})
        if isinstance(event, End) and picture.image is not None:
            return self._frame("completed", picture.image, {"usage": image_usage(event.usage)})
        return b""

    @property
    def complete(self) -> bool:
        """Whether at least one call brought its picture."""
        return any(picture.image for picture in self._pictures)

    def missing(self) -> GatewayError:
        return self._pictures[0].missing()

    def fail(self, error: GatewayError) -> bytes:
        return error_frame(error, self._reply.error_id)

    def _frame(self, what: str, image: Media, more: Mapping[str, Any]) -> bytes:
        name = f"{self._job.family}.{what}"
        body = {
            "type": name,
            "b64_json": image.data,
            "created_at": self._reply.created,
            "size": self._job.size,
            "quality": self._job.quality,
            "background": "opaque",
            "output_format": _format(image),
            **more,
        }
        return frame(encode(body), name)


def _format(image: Media) -> str:
    """`png`, `jpeg` or `webp`: what the bytes are."""
    return image.mime_type.partition("/")[2].partition(";")[0].lower() or "png"

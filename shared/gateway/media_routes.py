"""The actions of the media endpoints, apart from the others so that no other function pays for their imports."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shared.gateway.context import Exchange
from shared.gateway.media import MediaLife
from shared.gateway.media_audio import Speech, Transcripts
from shared.gateway.media_embeddings import Embedder
from shared.gateway.media_images import Painter
from shared.gateway.pipeline import Services


def media_actions(services: Services) -> Mapping[str, Callable[[Request, Exchange, Any, str], Awaitable[Response]]]:
    life = MediaLife(services)
    painter, transcripts = Painter(life), Transcripts(life)
    return {
        "embed": Embedder(life).serve,
        "generate_images": painter.generate,
        "edit_images": painter.edit,
        "vary_images": painter.vary,
        "speak": Speech(life).speak,
        "transcribe": transcripts.transcribe,
        "translate": transcripts.translate,
    }

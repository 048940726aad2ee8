"""Which path speaks which dialect. A row is all that a new path of a known dialect needs."""

import importlib
from typing import Literal, cast

from msgspec import Struct

from shared.dialects.contract import CountingDialect

Action = Literal[
    "generate",
    "count",
    "list_models",
    "get_model",
    # of the media endpoints
    "embed",
    "generate_images",
    "edit_images",
    "vary_images",
    "speak",
    "transcribe",
    "translate",
    # of the Responses API
    "respond",
    "kept_response",
    "cancel_response",
    "response_items",
    "count_response",
    "compact",
    "run_background",
    "converse",
    "kept_conversation",
    "conversation_items",
    "conversation_item",
    # of OpenAI's files
    "files",
    "file",
    "start_upload",
    "upload_part",
    "complete_upload",
    "cancel_upload",
    # of Google's own paths
    "native",
    "native_upload",
    "native_files",
    "native_file",
    "native_caches",
    "native_cache",
    "native_elsewhere",
]


class Row(Struct, frozen=True):
    """`endpoint` is the name that a key's scope and the usage rows use; `dialect` is imported only where served."""

    path: str
    endpoint: str
    dialect: str
    action: Action = "generate"
    method: str = "POST"  # several are separated by spaces
    shared: bool = False  # another row serves the other methods of the same path

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(self.method.split())


def _model_row(version: str) -> Row:
    """Calls of Google's models under one of its versions; a GET has the same path, and is another row's."""
    return Row(f"/{version}/models/{{name:path}}", "native", "gemini_native", "native", shared=True)


def _native_rows(version: str) -> tuple[Row, ...]:
    """What Google's models leave and keep under one of its versions, and what is not served."""

    def row(path: str, action: Action, method: str = "POST") -> Row:
        return Row(path.format(v=version), "native", "gemini_native", action, method)

    absent = ("tunedModels", "batches", "corpora", "fileSearchStores", "generatedFiles", "interactions", "dynamic")
    everything = "GET POST PATCH DELETE"
    return (
        row("/upload/{v}/files", "native_upload", "POST PUT"),
        row("/{v}/files", "native_files", "GET"),
        row("/{v}/files/{{file}}", "native_file", "GET DELETE"),
        row("/{v}/cachedContents", "native_caches", "GET POST"),
        row("/{v}/cachedContents/{{cache}}", "native_cache", "GET PATCH DELETE"),
        *(
            row(f"/{{v}}/{name}{rest}", "native_elsewhere", everything)
            for name in absent
            for rest in ("", "/{{rest:path}}")
        ),
    )


MEDIA = frozenset({"embeddings", "images", "audio"})  # endpoints whose actions are imported only where served

ROWS: tuple[Row, ...] = (
    # the busiest first: a path is compared with one row after another
    Row("/v1/chat/completions", "chat", "openai_chat"),
    Row("/v1/messages", "messages", "anthropic_messages"),
    # a GET here is a WebSocket that wants to open
    Row("/v1/responses", "responses", "openai_responses", "respond", "POST GET"),
    _model_row("v1beta"),
    _model_row("v1"),
    Row("/gemini/v1/chat/completions", "chat", "vendor.apigpt"),
    Row("/gemini/v1/chat/completion", "chat", "vendor.apigpt"),
    # the vendor's Python samples join a host that ends in a slash
    Row("//gemini/v1/chat/completions", "chat", "vendor.apigpt"),
    Row("//gemini/v1/chat/completion", "chat", "vendor.apigpt"),
    Row("/v1/projects/{project}/locations/{location}/chat/completions", "chat", "vendor.gdc"),
    Row("/v1beta/openai/chat/completions", "chat", "vendor.google_compat"),
    Row("/v1beta/openai/models", "models", "vendor.google_compat", "list_models", "GET"),
    Row("/v1beta/openai/models/{model:path}", "models", "vendor.google_compat", "get_model", "GET"),
    Row("/v1beta/openai/responses", "responses", "openai_responses", "respond"),
    Row("/v1beta/openai/responses/input_tokens", "responses", "openai_responses", "count_response"),
    Row("/v1beta/openai/responses/compact", "responses", "openai_responses", "compact"),
    Row("/v1beta/openai/responses/{id}", "responses", "openai_responses", "kept_response", "GET DELETE"),
    Row("/v1beta/openai/responses/{id}/cancel", "responses", "openai_responses", "cancel_response"),
    Row("/v1beta/openai/responses/{id}/input_items", "responses", "openai_responses", "response_items", "GET"),
    Row("/v1/messages/count_tokens", "messages", "anthropic_messages", "count"),
    # some users end the base URL in /v1, and the SDK adds its own
    Row("/v1/v1/messages", "messages", "anthropic_messages"),
    Row("/v1/v1/messages/count_tokens", "messages", "anthropic_messages", "count"),
    Row("/v1/embeddings", "embeddings", "openai_media", "embed"),
    Row("/v1/images/generations", "images", "openai_media", "generate_images"),
    Row("/v1/images/edits", "images", "openai_media", "edit_images"),
    Row("/v1/images/variations", "images", "openai_media", "vary_images"),
    Row("/v1/audio/speech", "audio", "openai_media", "speak"),
    Row("/v1/audio/transcriptions", "audio", "openai_media", "transcribe"),
    Row("/v1/audio/translations", "audio", "openai_media", "translate"),
    Row("/v1beta/openai/embeddings", "embeddings", "openai_media", "embed"),
    Row("/v1beta/openai/images/generations", "images", "openai_media", "generate_images"),
    Row("/v1beta/openai/images/edits", "images", "openai_media", "edit_images"),
    Row("/v1beta/openai/audio/speech", "audio", "openai_media", "speak"),
    Row("/v1beta/openai/audio/transcriptions", "audio", "openai_media", "transcribe"),
    Row("/v1beta/openai/audio/translations", "audio", "openai_media", "translate"),
    Row("/v1/responses/input_tokens", "responses", "openai_responses", "count_response"),
    Row("/v1/responses/compact", "responses", "openai_responses", "compact"),
    Row("/v1/responses/{id}", "responses", "openai_responses", "kept_response", "GET DELETE"),
    Row("/v1/responses/{id}/cancel", "responses", "openai_responses", "cancel_response"),
    Row("/v1/responses/{id}/input_items", "responses", "openai_responses", "response_items", "GET"),
    Row("/v1/conversations", "responses", "openai_responses", "converse"),
    Row("/v1/conversations/{id}", "responses", "openai_responses", "kept_conversation", "GET POST DELETE"),
    Row("/v1/conversations/{id}/items", "responses", "openai_responses", "conversation_items", "GET POST"),
    Row("/v1/conversations/{id}/items/{item}", "responses", "openai_responses", "conversation_item", "GET DELETE"),
    Row("/internal/responses/run", "responses", "openai_responses", "run_background"),
    # two of these are Google's too, under v1: its clients are told by their headers
    Row("/v1/files", "files", "openai_media", "files", "GET POST"),
    Row("/v1/files/{file}", "files", "openai_media", "file", "GET DELETE"),
    Row("/v1/uploads", "files", "openai_media", "start_upload"),
    Row("/v1/uploads/{upload}/parts", "files", "openai_media", "upload_part"),
    Row("/v1/uploads/{upload}/complete", "files", "openai_media", "complete_upload"),
    Row("/v1/uploads/{upload}/cancel", "files", "openai_media", "cancel_upload"),
    *_native_rows("v1beta"),
    *_native_rows("v1"),
    _model_row("v1alpha"),
    *_native_rows("v1alpha"),
    # Live's websockets
    Row("/ws/{rest:path}", "native", "gemini_native", "native_elsewhere", "GET POST"),
    Row("/v1beta/models", "models", "gemini_native", "list_models", "GET"),
    Row("/v1beta/models/{model:path}", "models", "gemini_native", "get_model", "GET"),
    Row("/v1alpha/models", "models", "gemini_native", "list_models", "GET"),
    Row("/v1alpha/models/{model:path}", "models", "gemini_native", "get_model", "GET"),
    # for the clients of three vendors
    Row("/v1/models", "models", "openai_chat", "list_models", "GET"),
    Row("/v1/models/{model:path}", "models", "openai_chat", "get_model", "GET"),
    # as with messages
    Row("/v1/v1/models", "models", "openai_chat", "list_models", "GET"),
    Row("/v1/v1/models/{model:path}", "models", "openai_chat", "get_model", "GET"),
)


def load(dialect: str) -> CountingDialect:
    """The dialect's package; only those of `count` rows have the counting verbs."""
    return cast(CountingDialect, importlib.import_module(f"shared.dialects.{dialect}"))

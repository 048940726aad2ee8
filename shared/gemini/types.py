"""Gemini's request vocabulary (v1beta, camelCase), as far as the gateway writes it.

TypedDicts type what our code reads or builds; a native client's further fields are carried untyped. Source of names
and values: the discovery document of 2026-03-25 and google-genai 3.4.0.
"""

from typing import Any, TypedDict


class Blob(TypedDict):
    mimeType: str
    data: str


class FileData(TypedDict, total=False):
    mimeType: str
    fileUri: str


class FunctionCall(TypedDict, total=False):
    id: str
    name: str
    args: dict[str, Any]


class FunctionResponse(TypedDict, total=False):
    id: str
    name: str
    response: dict[str, Any]
    parts: list[dict[str, Any]]


class VideoMetadata(TypedDict, total=False):
    startOffset: str
    endOffset: str
    fps: float


class Part(TypedDict, total=False):
    """Exactly one of text, inlineData, fileData, functionCall, functionResponse, ...; the rest are side fields."""

    text: str
    inlineData: Blob
    fileData: FileData
    functionCall: FunctionCall
    functionResponse: FunctionResponse
    executableCode: dict[str, Any]
    codeExecutionResult: dict[str, Any]
    toolCall: dict[str, Any]
    toolResponse: dict[str, Any]
    thought: bool
    thoughtSignature: str
    videoMetadata: VideoMetadata
    mediaResolution: dict[str, Any]


class Content(TypedDict, total=False):
    role: str
    parts: list[Part]


class FunctionDeclaration(TypedDict, total=False):
    name: str
    description: str
    parameters: dict[str, Any]
    parametersJsonSchema: dict[str, Any]


class Tool(TypedDict, total=False):
    """One kind per object."""

    functionDeclarations: list[FunctionDeclaration]
    googleSearch: dict[str, Any]
    codeExecution: dict[str, Any]
    urlContext: dict[str, Any]
    googleMaps: dict[str, Any]
    fileSearch: dict[str, Any]


class FunctionCallingConfig(TypedDict, total=False):
    mode: str
    allowedFunctionNames: list[str]


class ToolConfig(TypedDict, total=False):
    functionCallingConfig: FunctionCallingConfig
    includeServerSideToolInvocations: bool


class ThinkingConfig(TypedDict, total=False):
    includeThoughts: bool
    thinkingBudget: int
    thinkingLevel: str


class GenerationConfig(TypedDict, total=False):
    stopSequences: list[str]
    maxOutputTokens: int
    temperature: float
    topP: float
    topK: int
    seed: int
    responseLogprobs: bool
    logprobs: int
    responseMimeType: str
    responseSchema: dict[str, Any]
    responseJsonSchema: dict[str, Any]
    responseModalities: list[str]
    thinkingConfig: ThinkingConfig
    imageConfig: dict[str, Any]
    speechConfig: dict[str, Any]
    mediaResolution: str


class SafetySetting(TypedDict):
    category: str
    threshold: str


class GenerateContentRequest(TypedDict, total=False):
    contents: list[Content]
    systemInstruction: Content
    tools: list[Tool]
    toolConfig: ToolConfig
    safetySettings: list[SafetySetting]
    generationConfig: GenerationConfig
    cachedContent: str
    serviceTier: str
    continuationToken: str

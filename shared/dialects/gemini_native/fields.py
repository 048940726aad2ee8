"""The fields of Gemini's request messages and their kinds.

Source: Google's discovery document of v1beta, revision 20260325, and the newer fields of google-genai 3.4.0. A field
that stands nowhere here goes upstream as the client wrote it.
"""

from collections.abc import Mapping
from typing import Final

# `name:kind`; a kind is a message's name, `string`, `bool`, `int`, `number`, `enum`, `tier`, or `free` for a value that
# is never walked (arguments of calls, JSON schemas). `[` before it: repeated; `{`: a map with the client's own keys.
_MESSAGES: Final[Mapping[str, str]] = {
    "AudioTranscriptionConfig": (
        "customVocabulary:[string diarization:bool languageCodes:[string mode:enum sourceText:string wordTimestamp:bool"
    ),
    "BatchEmbedContentsRequest": "requests:[EmbedContentRequest",
    "Blob": "data:string mimeType:string",
    "CachedContent": (
        "contents:[Content displayName:string expireTime:string model:string name:string "
        "systemInstruction:Content toolConfig:ToolConfig tools:[Tool ttl:string"
    ),
    "CodeExecution": "",
    "CodeExecutionResult": "id:string outcome:enum output:string",
    "ComputerUse": (
        "disabledSafetyPolicies:[string enablePromptInjectionDetection:bool environment:enum "
        "excludedPredefinedFunctions:[string"
    ),
    "Content": "parts:[Part role:string",
    "CountTokensRequest": "contents:[Content generateContentRequest:GenerateContentRequest",
    "DynamicRetrievalConfig": "dynamicThreshold:number mode:enum",
    "EmbedContentRequest": "content:Content model:string outputDimensionality:int taskType:enum title:string",
    "ExecutableCode": "code:string id:string language:enum",
    "FileData": "fileUri:string mimeType:string",
    "FileSearch": "fileSearchStoreNames:[string metadataFilter:string topK:int",
    "FunctionCall": "args:free id:string name:string",
    "FunctionCallingConfig": "allowedFunctionNames:[string mode:enum",
    "FunctionDeclaration": (
        "behavior:enum description:string name:string parameters:Schema parametersJsonSchema:free "
        "response:Schema responseJsonSchema:free"
    ),
    "FunctionResponse": (
        "id:string name:string parts:[FunctionResponsePart response:free scheduling:enum willContinue:bool"
    ),
    "FunctionResponseBlob": "data:string mimeType:string",
    "FunctionResponsePart": "fileData:FileData inlineData:FunctionResponseBlob",
    "GenerateContentRequest": (
        "cachedContent:string contents:[Content continuationToken:string generationConfig:GenerationConfig "
        "labels:{string model:string safetySettings:[SafetySetting serviceTier:tier store:bool "
        "systemInstruction:Content toolConfig:ToolConfig tools:[Tool"
    ),
    "GenerationConfig": (
        "_responseJsonSchema:free audioTranscriptionConfig:AudioTranscriptionConfig candidateCount:int "
        "enableAffectiveDialog:bool enableEnhancedCivicAnswers:bool frequencyPenalty:number "
        "imageConfig:ImageConfig logprobs:int maxOutputTokens:int mediaResolution:enum presencePenalty:number "
        "responseFormat:[free responseJsonSchema:free responseJsonSchemaOrdered:free responseLogprobs:bool "
        "responseMimeType:string responseModalities:[enum responseSchema:Schema seed:int "
        "speechConfig:SpeechConfig stopSequences:[string temperature:number thinkingConfig:ThinkingConfig "
        "topK:int topP:number translationConfig:free"
    ),
    "GoogleMaps": "enableWidget:bool",
    "GoogleSearch": "searchTypes:SearchTypes timeRangeFilter:Interval",
    "GoogleSearchRetrieval": "dynamicRetrievalConfig:DynamicRetrievalConfig",
    "ImageConfig": "aspectRatio:string imageSize:string",
    "ImageSearch": "",
    "Interval": "endTime:string startTime:string",
    "LatLng": "latitude:number longitude:number",
    "McpServer": "name:string streamableHttpTransport:StreamableHttpTransport",
    "MediaResolution": "level:enum numTokens:int",
    "MultiSpeakerVoiceConfig": "speakerVoiceConfigs:[SpeakerVoiceConfig",
    "Part": (
        "audioMetadata:free audioTranscription:free codeExecutionResult:CodeExecutionResult "
        "documentMetadata:free executableCode:ExecutableCode fileData:FileData functionCall:FunctionCall "
        "functionResponse:FunctionResponse inlineData:Blob mediaProcessing:enum "
        "mediaResolution:MediaResolution partMetadata:free speechMetadata:SpeechMetadata "
        "spreadsheetMetadata:free text:string thought:bool thoughtSignature:string toolCall:ToolCall "
        "toolResponse:ToolResponse videoMetadata:VideoMetadata"
    ),
    "PrebuiltVoiceConfig": "voiceName:string",
    "RetrievalConfig": "languageCode:string latLng:LatLng",
    "SafetySetting": "category:enum threshold:enum",
    "Schema": (
        "anyOf:[Schema default:free description:string enum:[string example:free format:string items:Schema "
        "maxItems:int maxLength:int maxProperties:int maximum:number minItems:int minLength:int "
        "minProperties:int minimum:number nullable:bool pattern:string properties:{Schema "
        "propertyOrdering:[string required:[string title:string type:enum"
    ),
    "SearchTypes": "imageSearch:ImageSearch webSearch:WebSearch",
    "SpeakerVoiceConfig": "speaker:string voiceConfig:VoiceConfig",
    "SpeechConfig": "languageCode:string multiSpeakerVoiceConfig:MultiSpeakerVoiceConfig voiceConfig:VoiceConfig",
    "SpeechMetadata": "speaker:string style:string",
    "StreamableHttpTransport": "headers:{string sseReadTimeout:string terminateOnClose:bool timeout:string url:string",
    "ThinkingConfig": "includeThoughts:bool thinkingBudget:int thinkingLevel:enum",
    "Tool": (
        "codeExecution:CodeExecution computerUse:ComputerUse fileSearch:FileSearch "
        "functionDeclarations:[FunctionDeclaration googleMaps:GoogleMaps googleSearch:GoogleSearch "
        "googleSearchRetrieval:GoogleSearchRetrieval mcpServers:[McpServer urlContext:UrlContext"
    ),
    "ToolCall": "args:free id:string toolType:enum",
    "ToolConfig": (
        "functionCallingConfig:FunctionCallingConfig includeServerSideToolInvocations:bool "
        "retrievalConfig:RetrievalConfig"
    ),
    "ToolResponse": "id:string response:free toolType:enum",
    "UrlContext": "",
    "VideoMetadata": "contentLayers:[enum endOffset:string fps:number startOffset:string",
    "VoiceConfig": "prebuiltVoiceConfig:PrebuiltVoiceConfig replicatedVoiceConfig:free voice:string",
    "WebSearch": "",
}

FIELDS: Final[Mapping[str, Mapping[str, str]]] = {
    message: dict(field.split(":") for field in fields.split()) for message, fields in _MESSAGES.items()
}

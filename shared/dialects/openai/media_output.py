"""What kinds of answer the client wants besides text: images and speech."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from shared.dialects.openai.fields import either_case, invalid, mapping, sequence, string
from shared.dialects.openai.notes import Notes
from shared.dialects.openai.parameters import Given, Parameters
from shared.dialects.openai.voices import DEFAULT, gemini_voice
from shared.gemini.catalog import Capabilities
from shared.gemini.types import GenerationConfig

OUTPUTS = frozenset(["modalities", "audio", "speech_config", "image_config", "aspect_ratio", "media_resolution"])
_KINDS = ("text", "image", "audio")
_AUDIO_FORMATS = ("wav", "pcm16")  # every other one needs an encoder
_RESOLUTIONS = ("MEDIA_RESOLUTION_LOW", "MEDIA_RESOLUTION_MEDIUM", "MEDIA_RESOLUTION_HIGH")


class Outputs(Struct, frozen=True):
    """`images_as_field`: images were asked for by name. `audio_format`: None where no sound is made."""

    images_as_field: bool = False
    audio_format: str | None = None


def add_outputs(params: Parameters, config: GenerationConfig, caps: Capabilities, notes: Notes) -> Outputs:
    """responseModalities, speechConfig, imageConfig and mediaResolution of the request, into `config`."""
    asked = _modalities(params.get("modalities"), caps)
    modalities = asked or list(caps.modalities)
    if modalities:
        config["responseModalities"] = modalities
    speaks = "AUDIO" in modalities
    audio, speech = params.get("audio"), params.get("speech_config")
    audio_format = None
    if speaks:
        audio_format = _audio_format(audio)
        config["speechConfig"] = _speech(speech, audio)
    else:
        for given in (audio, speech):
            if given:
                mapping(given.value, given.path)
                notes.ignored(given.path)
    image = _image_config(params)
    if image:
        config["imageConfig"] = image
    resolution = params.get("media_resolution")
    if resolution:
        config["mediaResolution"] = _resolution(resolution)
    return Outputs("IMAGE" in asked, audio_format)


def _modalities(given: Given | None, caps: Capabilities) -> list[str]:
    """Empty where the client names none but text: a model that makes images or sound only keeps its own default."""
    if given is None:
        return []
    kinds = [
        string(item, f"{given.path}[{position}]") for position, item in enumerate(sequence(given.value, given.path))
    ]
    if any(kind not in _KINDS for kind in kinds):
        raise invalid("Expected text, image or audio.", given.path)
    if "audio" in kinds:
        if "AUDIO" not in caps.modalities:
            raise invalid("This model does not speak.", given.path)
        return ["AUDIO"]
    return ["TEXT", "IMAGE"] if "image" in kinds else []


def _audio_format(given: Given | None) -> str:
    value = mapping(given.value, given.path).get("format") if given else None
    if value is None:
        return "wav"
    if value not in _AUDIO_FORMATS:
        raise invalid(f"Expected one of {', '.join(_AUDIO_FORMATS)}.", "audio.format")
    return str(value)


def _speech(google: Given | None, audio: Given | None) -> dict[str, Any]:
    """`audio.voice`, else the voices of Google's own `speech_config`, else the default voice."""
    voice = mapping(audio.value, audio.path).get("voice") if audio else None
    if voice is not None:
        return _voice_config(gemini_voice(voice, "audio.voice"))
    if google is None:
        return _voice_config(DEFAULT)
    members = either_case(mapping(google.value, google.path))
    speech: dict[str, Any] = {}
    if "language_code" in members:
        speech["languageCode"] = string(members["language_code"], f"{google.path}.language_code")
    if "multi_speaker_voice_config" in members:
        where = f"{google.path}.multi_speaker_voice_config"
        speech["multiSpeakerVoiceConfig"] = {
            "speakerVoiceConfigs": _speakers(members["multi_speaker_voice_config"], where)
        }
    else:
        where = f"{google.path}.voice_config"
        speech |= _voice_config(_prebuilt(members.get("voice_config"), where) if "voice_config" in members else DEFAULT)
    return speech


def _speakers(value: Any, param: str) -> list[dict[str, Any]]:
    where = f"{param}.speaker_voice_configs"
    listed = sequence(either_case(mapping(value, param)).get("speaker_voice_configs"), where)
    if len(listed) != 2:
        raise invalid("Exactly two speakers are needed.", where)
    speakers: list[dict[str, Any]] = []
    for position, item in enumerate(listed):
        at = f"{where}[{position}]"
        members = either_case(mapping(item, at))
        voice = _prebuilt(members.get("voice_config"), f"{at}.voice_config")
        speakers.append({"speaker": string(members.get("speaker"), f"{at}.speaker"), **_voice_config(voice)})
    return speakers


def _prebuilt(value: Any, param: str) -> str:
    where = f"{param}.prebuilt_voice_config"
    prebuilt = either_case(mapping(either_case(mapping(value, param)).get("prebuilt_voice_config"), where))
    return gemini_voice(prebuilt.get("voice_name"), f"{where}.voice_name")


def _voice_config(voice: str) -> dict[str, Any]:
    return {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}


def _image_config(params: Parameters) -> dict[str, Any]:
    given, ratio = params.get("image_config"), params.get("aspect_ratio")
    members: Mapping[str, Any] = either_case(mapping(given.value, given.path)) if given else {}
    config: dict[str, Any] = {}
    for name, wire in (("aspect_ratio", "aspectRatio"), ("image_size", "imageSize")):
        if given and name in members:
            config[wire] = string(members[name], f"{given.path}.{name}")
    if ratio:
        config.setdefault("aspectRatio", string(ratio.value, ratio.path))
    return config


def _resolution(given: Given) -> str:
    word = string(given.value, given.path).upper()
    word = word if word.startswith("MEDIA_RESOLUTION_") else f"MEDIA_RESOLUTION_{word}"
    if word not in _RESOLUTIONS:
        raise invalid("Expected low, medium or high.", given.path)
    return word

"""The tools that the upstream runs itself, and the names clients call them by."""

from typing import Any

from shared.dialects.openai.fields import boolean, either_case, integer, invalid, mapping, sequence, string

# Gemini's tool objects, by their snake_case name.
BUILT_INS = {
    "google_search": "googleSearch",
    "google_search_retrieval": "googleSearch",  # the older models' tool; the newer one serves its purpose
    "code_execution": "codeExecution",
    "url_context": "urlContext",
    "google_maps": "googleMaps",
    "file_search": "fileSearch",
}
# Functions without parameters that mean a built-in tool.
CLOTHED = {
    **{name: BUILT_INS[name] for name in ("google_search", "code_execution", "url_context")},
    **{BUILT_INS[name]: BUILT_INS[name] for name in ("google_search", "code_execution", "url_context")},
}
# `{"type": ...}` of other servers' built-in tools that have a counterpart.
TYPED = {
    **CLOTHED,
    "google_maps": "googleMaps",
    "googleMaps": "googleMaps",
    "web_search": "googleSearch",
    "web_search_preview": "googleSearch",
    "openrouter:web_search": "googleSearch",
    "code_interpreter": "codeExecution",
}


def built_in(name: str, value: Any, param: str) -> tuple[str, dict[str, Any]]:
    """(Gemini's field, its configuration) of a raw tool object; members that Gemini does not have are left out."""
    members = either_case(mapping(value, param))
    config: dict[str, Any] = {}
    if name == "google_search":
        config = _google_search(members, param)
    elif name == "google_maps" and "enable_widget" in members:
        config["enableWidget"] = boolean(members["enable_widget"], f"{param}.enable_widget")
    elif name == "file_search":
        config = _file_search(members, param)
    return BUILT_INS[name], config


def _google_search(members: dict[str, Any], param: str) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if "time_range_filter" in members:
        where = f"{param}.time_range_filter"
        times = either_case(mapping(members["time_range_filter"], where))
        names = {"start_time": "startTime", "end_time": "endTime"}
        config["timeRangeFilter"] = {
            wire: string(times[name], f"{where}.{name}") for name, wire in names.items() if name in times
        }
    if "search_types" in members:
        where = f"{param}.search_types"
        kinds = either_case(mapping(members["search_types"], where))
        names = {"web_search": "webSearch", "image_search": "imageSearch"}
        config["searchTypes"] = {wire: {} for name, wire in names.items() if name in kinds}
    return config


def _file_search(members: dict[str, Any], param: str) -> dict[str, Any]:
    where = f"{param}.file_search_store_names"
    stores = sequence(members.get("file_search_store_names"), where)
    if not stores:
        raise invalid("At least one file search store is needed.", where)
    config: dict[str, Any] = {
        "fileSearchStoreNames": [string(store, f"{where}[{position}]") for position, store in enumerate(stores)]
    }
    if "top_k" in members:
        config["topK"] = integer(members["top_k"], f"{param}.top_k", 1)
    if "metadata_filter" in members:
        config["metadataFilter"] = string(members["metadata_filter"], f"{param}.metadata_filter")
    return config

"""What Anthropic's clients say of themselves, for the log: Claude Code's session and agents, the API that is spoken.

All of it is the client's free text and authorises nothing.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

_LONGEST = 400  # Claude Code names some twenty betas
_HEADERS = (
    ("version", b"anthropic-version"),
    ("betas", b"anthropic-beta"),
    ("session", b"x-claude-code-session-id"),
    ("agent", b"x-claude-code-agent-id"),
    ("parent_agent", b"x-claude-code-parent-agent-id"),
)


def client_traits(headers: Mapping[bytes, bytes], body: Mapping[str, Any]) -> dict[str, str]:
    """Only what was said. The user is told by a digest, as an id may be somebody's address."""
    traits = {name: headers[sent].decode("latin-1")[:_LONGEST] for name, sent in _HEADERS if sent in headers}
    metadata = body.get("metadata")
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    if isinstance(user, str) and user:
        traits["user"] = sha256(_lasting(user).encode("utf-8", "replace")).hexdigest()[:16]
    return traits


def _lasting(user: str) -> str:
    """Of Claude Code's id, which is JSON with the device and the account, the session alone."""
    if not user.startswith("{"):
        return user
    try:
        session = json.loads(user).get("session_id")
    except (ValueError, RecursionError):
        return user
    return session if isinstance(session, str) and session else user

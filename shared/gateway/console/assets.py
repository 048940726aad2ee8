"""The console's files as they leave: read once from the package, under an address that names their content."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
_DIGITS = 16


class Asset(Struct, frozen=True):
    content: bytes
    media_type: str


class Assets:
    """Every file of `static/` that a browser may ask for. `version` is a hash of them all: the modules import
    each other by relative address, so one changed file has to move every address."""

    def __init__(self, folder: Path = _FOLDER) -> None:
        self._files: Mapping[str, Asset] = {
            path.name: Asset(path.read_bytes(), _TYPES[path.suffix])
            for path in sorted(folder.iterdir())
            if path.suffix in _TYPES
        }
        digest = hashlib.sha256()
        for name, asset in self._files.items():
            digest.update(f"{name}\0{len(asset.content)}\0".encode() + asset.content)
        self.version = digest.hexdigest()[:_DIGITS]

    def get(self, version: str, name: str) -> Asset | None:
        """None for a file that is not there, and for one of another release: its content would be cached for a year
        under the wrong address."""
        return self._files.get(name) if version == self.version else None

    def url(self, name: str) -> str:
        """KeyError where there is no such file."""
        if name not in self._files:
            raise KeyError(name)
        return f"/console/assets/{self.version}/{name}"


def fragment(name: str) -> str:
    """A piece of the page kept as HTML; trusted text of the package."""
    return (_FOLDER / name).read_text("utf-8")

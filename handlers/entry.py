"""The object that Lambda is given as the handler of a web application."""

from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from starlette.types import ASGIApp

if TYPE_CHECKING:
    from mangum import Mangum


class Entry:
    """Our loop streams `app` and asks for nothing else; buffered invocations, under AWS's own loop, are Mangum's, which
    only the first of them imports.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        return self._mangum(event, context)

    def infer(self, event: dict[str, Any], context: Any) -> Any:
        """What our loop asks about an event that is no function URL's: Mangum's reading of it."""
        return self._mangum.infer(event, context)

    @cached_property
    def _mangum(self) -> "Mangum":
        from mangum import Mangum

        return Mangum(cast(Any, self.app))

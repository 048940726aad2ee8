"""HTTP/1.1 as the laptop's server reads it: nothing here becomes another protocol."""

import re

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_UPGRADE = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)


class PlainHttp(HttpToolsProtocol):
    """httptools takes an offer to upgrade for the end of HTTP: the body behind it is lost, and so is each later request
    of the connection. Java's HttpClient and `curl --http2` offer h2c with their first request to a plain address. Who
    does not take an offer up answers as if there were none (RFC 9110, 7.8), so the parser gets to see none."""

    _head_expected = True

    def data_received(self, data: bytes) -> None:
        if self._head_expected:
            end = data.find(b"\r\n\r\n")
            end = len(data) if end < 0 else end
            if _UPGRADE.search(data, 0, end):
                data = _UPGRADE.sub(b"\r\nx-offered-upgrade:", data[:end]) + data[end:]
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._head_expected = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._head_expected = True
        super().on_message_complete()

"""Reference R: an asyncio relay that copies bytes and understands none. Serves PORT, asks UPSTREAM (host:port).

Do not improve it: that would move the goals.
"""

import asyncio
import os


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # one side hung up; the other is closed below, as for an ordinary end
    finally:
        writer.close()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    host, _, port = os.environ["UPSTREAM"].partition(":")
    upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))
    await asyncio.gather(_copy(reader, upstream_writer), _copy(upstream_reader, writer))


async def main() -> None:
    server = await asyncio.start_server(_relay, "127.0.0.1", int(os.environ["PORT"]), backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

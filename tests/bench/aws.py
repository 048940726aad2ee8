"""The AWS that measured gateways talk to: `python -m tests.bench.aws SEED.json`. Prints its port.

Canned answers of DynamoDB, SSM, Secrets Manager and SQS, in a process of its own, so that what they cost is not counted
as the gateway's. Nothing is checked or kept but parameters: whether the stores are used rightly is the tests' business.
`SEED.json` is {"parameters": {name: value}, "secrets": {id: value}}. `GET /_bench/settled` answers the monotonic
nanoseconds at which the last settlement arrived.
"""

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

_LENGTH = re.compile(rb"content-length: *(\d+)", re.I)
_TARGET = re.compile(rb"x-amz-target: *[\w.]*\.(\w+)\r", re.I)
# an account without limits, whose budget is what "none" is to the ledger
_UPDATED = {"Attributes": {"avail": {"N": str(2**53 - 1)}}}
_FIXED: dict[str, Any] = {
    "UpdateItem": _UPDATED,
    "BatchWriteItem": {"UnprocessedItems": {}},
    "BatchGetItem": {"Responses": {}, "UnprocessedKeys": {}},
    "Query": {"Items": [], "Count": 0, "ScannedCount": 0},
    "GetParametersByPath": {"Parameters": []},
    "SendMessage": {"MessageId": "m"},
    "ReceiveMessage": {},
}


class Aws:
    def __init__(self, seed: dict[str, dict[str, str]]) -> None:
        self.parameters = dict(seed["parameters"])
        self.secrets = seed["secrets"]
        self.settled_ns = 0
        self.fixed = {name: json.dumps(value).encode() for name, value in _FIXED.items()}

    def answer(self, operation: str, body: bytes) -> tuple[int, bytes]:
        if operation in self.fixed:
            return 200, self.fixed[operation]
        if operation == "TransactWriteItems":
            self.settled_ns = time.monotonic_ns()
            return 200, b"{}"
        request = json.loads(body) if body else {}
        match operation:
            case "GetParameter" if request["Name"] in self.parameters:
                value = {"Name": request["Name"], "Type": "SecureString", "Value": self.parameters[request["Name"]]}
                return 200, json.dumps({"Parameter": value}).encode()
            case "GetParameter":
                return 400, b'{"__type":"ParameterNotFound","message":"no such parameter"}'
            case "PutParameter":
                self.parameters[request["Name"]] = request["Value"]
                return 200, b'{"Version":1}'
            case "GetSecretValue" if request["SecretId"] in self.secrets:
                return 200, json.dumps({"SecretString": self.secrets[request["SecretId"]]}).encode()
            case "GetSecretValue":
                return 400, b'{"__type":"ResourceNotFoundException","message":"no such secret"}'
        return 200, b"{}"


class _Connection(asyncio.Protocol):
    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                if b"100-continue" in self._buffer[:end].lower():
                    self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            head, body = bytes(self._buffer[: end + 2]), bytes(self._buffer[end + 4 : whole])
            del self._buffer[:whole]
            status, answer = self._reply(head, body)
            reason = b"OK" if status == 200 else b"Bad Request"
            self.transport.write(
                b"HTTP/1.1 %d %b\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: %d\r\n\r\n%b"
                % (status, reason, len(answer), answer)
            )

    def _reply(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        if head.startswith(b"GET /_bench/settled"):
            return 200, b"%d" % self._aws.settled_ns
        if head.startswith(b"GET /_ministack/ready"):  # so that `make run` takes it for its own embedded AWS
            return 200, b"{}"
        target = _TARGET.search(head)
        return self._aws.answer(target[1].decode(), body) if target else (400, b"{}")


async def serve(seed: dict[str, dict[str, str]]) -> None:
    aws = Aws(seed)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(aws), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text("utf-8"))))

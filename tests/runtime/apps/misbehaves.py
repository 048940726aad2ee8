"""A runtime that breaks the protocol; the path of the event says how. A command of its own, without our loop."""

import http.client
import json
import os
import sys
import time

ROOT = "/2018-06-01/runtime/invocation"
PRELUDE = b'{"statusCode":200,"headers":{"content-type":"text/plain"}}' + b"\0" * 8
STREAM = {
    "Content-Type": "application/vnd.awslambda.http-integration-response",
    "Lambda-Runtime-Function-Response-Mode": "streaming",
    "Transfer-Encoding": "chunked",
}


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailers + b"\r\n"


def main() -> None:  # noqa: C901 - one case per misbehaviour
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

    def post(request_id: str, verb: str, body: bytes, headers: dict[str, str]) -> int:
        api.putrequest("POST", f"{ROOT}/{request_id}/{verb}")
        for name, value in headers.items():
            api.putheader(name, value)
        api.endheaders(body)
        answer = api.getresponse()
        answer.read()
        return answer.status

    while True:
        api.request("GET", f"{ROOT}/next")
        answer = api.getresponse()
        event = json.loads(answer.read())
        if answer.status != 200:
            sys.exit(1)
        request_id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
        match event["rawPath"]:
            case "/empty":
                post(request_id, "response", chunked(PRELUDE), STREAM)
            case "/twice":
                post(request_id, "response", chunked(PRELUDE, b"one"), STREAM)
                status = post(request_id, "response", chunked(PRELUDE, b"two"), STREAM)
                print("second reply:", status, flush=True)
            case "/unanswered":
                pass
            case "/long-trailers":
                trailers = (
                    b"Lambda-Runtime-Function-Error-Type: X\r\nLambda-Runtime-Function-Error-Body: "
                    + b"a" * 4_200
                    + b"\r\n"
                )
                post(request_id, "response", chunked(PRELUDE, b"one", trailers=trailers), STREAM)
            case "/no-prelude":
                post(request_id, "response", chunked(b"x" * 20_000), STREAM)
            case "/odd-prelude":
                post(request_id, "response", chunked(b'{"statusCode":"200"}' + b"\0" * 8, b"x"), STREAM)
            case "/split-prelude":
                pieces = [PRELUDE[index : index + 1] for index in range(len(PRELUDE))]
                post(request_id, "response", chunked(*pieces, b"fine"), STREAM)
            case "/plain-stream":
                post(request_id, "response", chunked(b"raw"), {**STREAM, "Content-Type": "text/plain"})
            case "/value":
                post(request_id, "response", b'{"a":1}', {"Content-Length": "7"})
            case "/hang":
                time.sleep(600)
            case _:
                post(request_id, "response", chunked(PRELUDE, b"fine"), STREAM)


main()

"""The upload bucket on a real S3 engine."""

import itertools
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from shared.stores.aws import Aws
from shared.stores.protocols import StoreUnavailable
from shared.stores.s3 import S3Objects

_numbers = itertools.count(1)


@pytest.fixture
def objects(aws: Aws) -> Iterator[S3Objects]:
    bucket = f"uploads-{next(_numbers)}"
    aws.client("s3").create_bucket(Bucket=bucket)
    return S3Objects(aws, bucket)


def put(url: str, data: bytes, headers: dict[str, str]) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method="PUT")) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


async def test_an_object_comes_back_with_what_was_said_about_it(objects: S3Objects) -> None:
    await objects.put("a/files/x", b"0123456789", "text/plain", {"filename": "a%20b.txt"})
    found = await objects.describe("a/files/x")
    assert found is not None
    assert (found.size, found.media_type, found.labels) == (10, "text/plain", {"filename": "a%20b.txt"})
    assert found.created_at > 1_700_000_000
    assert await objects.read("a/files/x", 0, 10) == b"0123456789"
    assert await objects.read("a/files/x", 3, 4) == b"3456"
    assert await objects.describe("a/files/y") is None


async def test_a_read_past_the_end_is_no_shorter_answer(objects: S3Objects) -> None:
    await objects.put("a/files/x", b"0123", "text/plain", {})
    with pytest.raises(StoreUnavailable):
        await objects.read("a/files/x", 2, 10)


async def test_pages_are_of_one_prefix_in_order(objects: S3Objects) -> None:
    for key in ("a/files/3", "a/files/1", "a/files/2", "a/parts/1", "b/files/0"):
        await objects.put(key, b"x", "text/plain", {})
    assert list(await objects.page("a/files/")) == ["a/files/1", "a/files/2", "a/files/3"]
    assert list(await objects.page("a/files/", "a/files/1", 1)) == ["a/files/2"]
    await objects.delete("a/files/2")
    await objects.delete("a/files/2")
    assert list(await objects.page("a/files/")) == ["a/files/1", "a/files/3"]


async def test_a_presigned_address_takes_the_object_it_was_made_for_and_nothing_else(objects: S3Objects) -> None:
    leave = await objects.presigned("a/files/x", 5, "image/png", {"purpose": "vision"}, 60)
    headers = dict(leave.headers)
    assert put(leave.url, b"123456", headers) == 403, "one byte more than announced"
    assert put(leave.url, b"1234", headers) == 403
    assert put(leave.url, b"12345", headers | {"content-type": "text/html"}) == 403
    assert put(leave.url, b"12345", headers | {"x-amz-meta-purpose": "batch"}) == 403
    assert put(leave.url.replace("a/files/x", "b/files/x"), b"12345", headers) == 403
    assert await objects.describe("a/files/x") is None
    assert put(leave.url, b"12345", headers) == 200
    found = await objects.describe("a/files/x")
    assert found is not None
    assert (found.size, found.media_type, found.labels) == (5, "image/png", {"purpose": "vision"})


async def test_a_bucket_that_is_gone_is_a_store_that_cannot_decide(aws: Aws) -> None:
    missing = S3Objects(aws, "no-such-bucket")
    with pytest.raises(StoreUnavailable):
        await missing.put("a", b"x", "text/plain", {})
    with pytest.raises(StoreUnavailable):
        await missing.page("a")

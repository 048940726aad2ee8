"""Files of the emulator: names, and the address of an upload that stands for itself."""

import httpx
import pytest

from infra.local.emulator import EmulatorServer

KEY = {"x-goog-api-key": "first-key"}
START = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
PIECE = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}


@pytest.fixture(scope="module")
def http():
    with EmulatorServer() as emulator, httpx.Client(base_url=emulator.base_url) as client:
        yield client


def start(http, name, key=KEY):
    return http.post("/upload/v1beta/files", json={"file": {"name": name}}, headers={**START, **key})


def test_the_address_of_an_upload_needs_no_credential_and_the_file_is_its_starters(http):
    began = start(http, "files/my-file")
    done = http.post(began.headers["x-goog-upload-url"], content=b"text", headers=PIECE)
    assert (done.status_code, done.json()["file"]["name"]) == (200, "files/my-file")
    assert http.get("/v1beta/files/my-file", headers=KEY).json() == done.json()["file"]
    assert http.get("/v1beta/files/my-file", headers={"x-goog-api-key": "second-key"}).status_code == 403
    again = http.post(began.headers["x-goog-upload-url"], content=b"text", headers=PIECE)
    assert again.status_code == 403  # a session that has ended stands for nothing
    assert http.post("/upload/v1beta/files", json={}, headers=START).status_code == 403


def test_a_name_exists_once(http):
    urls = [start(http, "files/once").headers["x-goog-upload-url"] for _ in range(2)]
    answers = [http.post(url, content=b"text", headers=PIECE) for url in urls]
    assert [answer.status_code for answer in answers] == [200, 409]
    other = start(http, "files/once", {"x-goog-api-key": "second-key"})
    assert (other.status_code, other.json()["error"]["status"]) == (409, "ALREADY_EXISTS")


@pytest.mark.parametrize("name", ["once", "files/Upper", "files/-x", "files/x-", "files/" + "a" * 41, "files/a_b"])
def test_a_name_has_the_documented_form(http, name):
    assert start(http, name).status_code == 400

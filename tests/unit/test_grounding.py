"""The links of a grounded answer: which are Google's redirects, and what is put in their place."""

import copy

import pytest

from shared.events import Citation
from shared.gemini.grounding import redirect_path, redirects, retarget, retarget_metadata

ROOT = "https://vertexaisearch.cloud.google.com"
ONE, TWO = f"{ROOT}/grounding-api-redirect/One==", f"{ROOT}/grounding-api-redirect/two?a=b"
METADATA = {
    "groundingMetadata": {
        "webSearchQueries": ["q"],
        "groundingChunks": [
            {"web": {"uri": ONE, "title": "a.example"}},
            {"maps": {"uri": "https://maps.google.com/?cid=1", "title": "Place"}},
            {"image": {"sourceUri": TWO, "imageUri": ONE, "title": "c.example"}},
            {"web": {"uri": None}},
            {"web": None},
            "odd",
        ],
    },
    "safetyRatings": [{"category": "x"}],
}


@pytest.mark.parametrize(("url", "path"), [(ONE, "/grounding-api-redirect/One=="), (f"{ROOT}/", "/")])
def test_the_redirects_of_google(url, path):
    assert redirect_path(url) == path


@pytest.mark.parametrize(
    "url",
    [
        "",
        ROOT,
        ONE.replace("https", "http"),
        ONE.replace("https://", "https://user@"),
        ONE.replace(".com/", ".com:443/"),
        ONE.replace(".com/", ".com.example/"),
        ONE.replace("https://", "https://www."),
        f"https://example.com/?u={ONE}",
        f"{ONE} x",
        f"{ONE}\r\nx-injected: 1",
        f"{ONE}\n",
        f"{ROOT}/ü",
        f"{ROOT}/{'a' * 5000}",
    ],
)
def test_other_links_are_none(url):
    assert redirect_path(url) is None
    assert redirects([Citation(0, 1, url, "")], {}) == []


def test_every_redirect_is_named_once_in_order():
    cited = [Citation(0, 1, TWO, "c"), Citation(1, 2, "https://a.example", "a"), Citation(2, 3, TWO, "c")]
    assert redirects(cited, METADATA) == [TWO, ONE]
    assert redirects([], {"groundingMetadata": {"groundingChunks": None}}) == []


def test_targets_take_the_place_of_links_and_nothing_else_changes():
    before = copy.deepcopy(METADATA)
    changed = retarget_metadata(METADATA, {ONE: "https://a.example/page", TWO: "https://c.example/"})
    assert before == METADATA
    expected = copy.deepcopy(METADATA)
    expected["groundingMetadata"]["groundingChunks"][0]["web"]["uri"] = "https://a.example/page"
    expected["groundingMetadata"]["groundingChunks"][2]["image"]["sourceUri"] = "https://c.example/"
    assert changed == expected
    assert retarget([Citation(3, 5, ONE, "t"), Citation(5, 6, TWO, "u")], {ONE: "https://a.example"}) == [
        Citation(3, 5, "https://a.example", "t"),
        Citation(5, 6, TWO, "u"),
    ]


def test_an_answer_without_sources_stays_the_same_object():
    for metadata in ({}, {"groundingMetadata": {"webSearchQueries": ["q"]}}):
        assert retarget_metadata(metadata, {ONE: "https://a.example"}) is metadata

"""What is kept of an answer's signatures."""

import pytest

from shared.events import BlockDelta, BlockEnd, BlockStart, End, Usage
from shared.gateway.signature_keeper import Signed
from shared.gemini.signatures import FoundSignature, text_key


@pytest.mark.parametrize(("text", "kept"), [(" yes\n", True), ("\n", False), ("\t ", False)])
def test_a_signed_text_of_white_space_alone_is_not_kept_for_all_others(text: str, kept: bool) -> None:
    """Its key would be theirs too: outer white space does not count."""
    events = [BlockStart(0, "text"), BlockDelta(0, text), BlockEnd(0, "c2ln"), End("stop", "STOP", Usage())]
    found = {text_key("", text): FoundSignature("c2ln", family="3.8")}
    assert Signed("3.8").watch(events) == (found if kept else {})

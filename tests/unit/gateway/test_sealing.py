"""What clients carry is secret, bound to its account, and worthless once a bit of it changed."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.gateway.sealing import Sealer

SEALER = Sealer(b"pepper", "acct")


@given(st.binary(max_size=500))
def test_what_is_sealed_opens_again(plain):
    assert SEALER.unseal(SEALER.seal(plain)) == plain


def test_it_is_secret_and_never_twice_the_same():
    plain = b"a signature that nobody may read" * 4
    first, second = SEALER.seal(plain), SEALER.seal(plain)
    assert first != second
    raw = base64.urlsafe_b64decode(first.removeprefix("gw1.") + "==")
    assert b"signature" not in raw
    assert "pepper" not in repr(SEALER)


@pytest.mark.parametrize("other", [Sealer(b"pepper", "acct2"), Sealer(b"other", "acct")])
def test_nobody_else_opens_it(other):
    assert other.unseal(SEALER.seal(b"x")) is None


@given(st.integers(0), st.integers(0, 7))
def test_a_changed_bit_is_noticed(place, bit):
    token = SEALER.seal(b"0123456789" * 10)
    raw = bytearray(base64.urlsafe_b64decode(token.removeprefix("gw1.") + "=="))
    raw[place % len(raw)] ^= 1 << bit
    assert SEALER.unseal("gw1." + base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")) is None


@given(st.text(max_size=80))
def test_garbage_is_nothing(text):
    assert SEALER.unseal(text) is SEALER.unseal(f"gw1.{text}") is None


def test_the_keystream_depends_on_the_nonce_only_through_the_key():
    fixed = Sealer(b"pepper", "acct", lambda size: b"n" * size)
    assert fixed.seal(b"same") == fixed.seal(b"same")
    assert fixed.seal(b"same") != Sealer(b"pepper", "acct", lambda size: b"m" * size).seal(b"same")

"""Bodies: one layer of compression, found by header or first bytes, and never more than 5 MiB."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.body import MAX_BODY, decompress
from services.ingest.errors import Refusal

PLAIN = b'{"batch": []}'


def raw_deflate(body: bytes) -> bytes:
    return zlib.compress(body, wbits=-15)


FOLD: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
}


def refused(body: bytes, encoding: str = "") -> str:
    with pytest.raises(Refusal) as refusal:
        decompress(body, encoding)
    return refusal.value.code


@pytest.mark.parametrize("coding", FOLD)
def test_each_coding_is_unfolded_by_name_and_by_its_first_bytes(coding: str) -> None:
    assert decompress(FOLD[coding](PLAIN), coding) == PLAIN
    assert decompress(FOLD[coding](PLAIN), f" {coding.upper()} , identity") == PLAIN
    assert decompress(FOLD[coding](PLAIN), "") == PLAIN


def test_deflate_without_a_frame_and_gzip_by_its_old_name() -> None:
    assert decompress(raw_deflate(PLAIN), "deflate") == PLAIN
    assert decompress(gzip.compress(PLAIN), "x-gzip") == PLAIN


def test_several_members_are_one_body() -> None:
    assert decompress(gzip.compress(b"{") + gzip.compress(b"}"), "gzip") == b"{}"
    assert decompress(zstandard.compress(b"{") + zstandard.compress(b"}"), "zstd") == b"{}"


def test_a_byte_order_mark_is_skipped() -> None:
    assert decompress(b"\xef\xbb\xbf" + PLAIN, "") == PLAIN
    assert decompress(gzip.compress(b"\xef\xbb\xbf" + PLAIN), "gzip") == PLAIN


@pytest.mark.parametrize("coding", FOLD)
def test_broken_doubled_and_cut_bodies_are_refused(coding: str) -> None:
    folded = FOLD[coding](PLAIN * 50)
    assert refused(PLAIN, coding) == "compression_broken"
    assert refused(folded[:-5], coding) == "compression_broken"
    assert refused(folded + b"more", coding) == "compression_broken"
    assert refused(FOLD[coding](folded), coding) == "compression_broken"
    assert refused(FOLD[coding](folded), f"{coding}, {coding}") == "compression_broken"


def test_an_unknown_encoding_is_refused() -> None:
    assert refused(PLAIN, "br") == "encoding_unknown"
    assert refused(PLAIN, "gzip, br") == "encoding_unknown"


@pytest.mark.parametrize("coding", FOLD)
def test_a_bomb_is_refused_and_the_limit_is_inclusive(coding: str) -> None:
    assert len(decompress(FOLD[coding](b" " * MAX_BODY), coding)) == MAX_BODY
    assert refused(FOLD[coding](b" " * (MAX_BODY + 1)), coding) == "body_too_large"
    assert refused(FOLD[coding](b" " * (40 * MAX_BODY)), coding) == "body_too_large"


def test_a_plain_body_over_the_limit_is_refused() -> None:
    assert refused(b" " * (MAX_BODY + 1)) == "body_too_large"


@given(st.binary(), st.sampled_from(["", *FOLD]))
def test_whatever_comes_is_unfolded_or_refused(body: bytes, coding: str) -> None:
    with contextlib.suppress(Refusal):
        assert len(decompress(body, coding)) <= MAX_BODY


@given(st.binary(), st.sampled_from(list(FOLD)))
def test_what_was_folded_is_unfolded(body: bytes, coding: str) -> None:
    assert decompress(FOLD[coding](b"{" + body), coding) == b"{" + body

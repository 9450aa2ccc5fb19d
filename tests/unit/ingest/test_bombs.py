"""What unfolds without end, or in ever so many parts, costs bounded memory and time."""

from __future__ import annotations

import contextlib
import gzip
import time
import tracemalloc
import zlib

import pytest
import zstandard

from services.ingest.body import MAX_BODY, MAX_MEMBERS, decompress
from services.ingest.dialects.segment import parse_batch
from services.ingest.errors import Refusal

MEBI = 1024 * 1024
EMPTY_GZIP, EMPTY_ZSTD = gzip.compress(b""), zstandard.compress(b"")
BOMBS = {
    "gzip": ("gzip", gzip.compress(bytes(20 * MEBI), 1)),
    "gzip, by its first bytes": ("", gzip.compress(bytes(20 * MEBI), 1)),
    "gzip in members": ("gzip", gzip.compress(bytes(MEBI)) * 8),
    "gzip in empty members": ("gzip", EMPTY_GZIP * (MAX_BODY // len(EMPTY_GZIP))),
    "gzip in gzip": ("gzip", gzip.compress(gzip.compress(bytes(20 * MEBI), 1))),
    "deflate": ("deflate", zlib.compress(bytes(20 * MEBI), 1)),
    "zstd": ("zstd", zstandard.compress(bytes(20 * MEBI))),
    "zstd in frames": ("zstd", zstandard.compress(bytes(MEBI)) * 8),
    "zstd in empty frames": ("zstd", EMPTY_ZSTD * (MAX_BODY // len(EMPTY_ZSTD))),
    "zstd with a wide window": (
        "zstd", zstandard.ZstdCompressor(
            compression_params=zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
        ).compress(bytes(40 * MEBI)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_for_little_memory_and_time(name: str) -> None:
    encoding, body = BOMBS[name]
    started = time.process_time()
    with pytest.raises(Refusal):
        decompress(body, encoding)
    assert time.process_time() - started < 2
    tracemalloc.start()
    with pytest.raises(Refusal):
        decompress(body, encoding)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * MAX_BODY


def test_as_many_members_as_are_allowed_are_unfolded() -> None:
    for fold in (gzip.compress, zstandard.compress):
        assert len(decompress(fold(b" ") * MAX_MEMBERS, "")) == MAX_MEMBERS
        with pytest.raises(Refusal):
            decompress(fold(b" ") * (MAX_MEMBERS + 1), "")


@pytest.mark.parametrize("piece", [b"[],", b"{},", b'{"":', b"[", b'"\\ud800",'])
def test_a_body_of_one_thing_over_and_over_is_read_or_refused_in_time(piece: bytes) -> None:
    body = b'{"batch":[' + (piece * (MEBI // len(piece))).rstrip(b",") + b"]}"
    started = time.process_time()
    with contextlib.suppress(Refusal):
        assert len(parse_batch(body).items) > 2500  # so that they are too many
    assert time.process_time() - started < 5

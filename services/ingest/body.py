"""From bytes on the wire to bytes of JSON: one layer of gzip, deflate or zstd, counted while it unfolds."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

import zstandard

from services.ingest.errors import Refusal

MAX_BODY: Final = 5 * 1024 * 1024
MAX_MEMBERS: Final = 100  # each costs a look at all that follows it, so many small ones would cost minutes
_GZIP, _ZSTD, _BOM = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xef\xbb\xbf"
_ZLIB: Final = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_ZSTD_WINDOW = 8 * 1024 * 1024


def decompress(body: bytes, encoding: str) -> bytes:
    """The body as its Content-Encoding or its first bytes say; at most MAX_BODY. Raises Refusal."""
    if not encoding and body.startswith(b"{"):
        return body
    codings = [name for part in encoding.lower().split(",") if (name := part.strip()) not in ("", "identity")]
    if any(name not in _UNFOLD for name in codings):
        raise Refusal("encoding_unknown", f"the encoding {encoding!r} is none of gzip, deflate, zstd")
    if len(codings) > 1:
        raise Refusal("compression_broken", "one layer of compression is enough")
    coding: str | None = codings[0] if codings else _sniffed(body)
    plain = _UNFOLD[coding](body) if coding and body else body
    if len(plain) > MAX_BODY:
        raise Refusal("body_too_large")
    if coding and _sniffed(plain):
        raise Refusal("compression_broken", "the body was compressed twice")
    return plain.removeprefix(_BOM)


def _sniffed(body: bytes) -> str | None:
    """The coding that the first bytes give away; none of them can begin JSON."""
    if body.startswith(_GZIP):
        return "gzip"
    if body.startswith(_ZSTD):
        return "zstd"
    return "deflate" if body.startswith(_ZLIB) else None


def _gunzip(body: bytes) -> bytes:
    """One or more members, as the format allows, and MAX_MEMBERS at most."""
    plain = b""
    for _ in range(MAX_MEMBERS):
        if not body.startswith(_GZIP):
            break
        member, body = _inflate(body, 16 + zlib.MAX_WBITS, MAX_BODY - len(plain))
        plain += member
    if body.strip(b"\0"):
        raise Refusal("compression_broken", f"the body is not gzip, or more than {MAX_MEMBERS} members of it")
    return plain


def _deflate(body: bytes) -> bytes:
    """With zlib's frame, as the standard says, or without, as some clients do."""
    try:
        plain, rest = _inflate(body, zlib.MAX_WBITS, MAX_BODY)
    except Refusal as refusal:
        if refusal.code != "compression_broken":
            raise
        plain, rest = _inflate(body, -zlib.MAX_WBITS, MAX_BODY)
    if rest:
        raise Refusal("compression_broken", "bytes follow the end of the compressed body")
    return plain


def _inflate(body: bytes, window: int, limit: int) -> tuple[bytes, bytes]:
    """The bytes unfolded, and what follows them."""
    unfolding = zlib.decompressobj(window)
    try:
        plain = unfolding.decompress(body, limit + 1)
    except zlib.error as error:
        raise Refusal("compression_broken", f"the body cannot be decompressed: {error}") from error
    if len(plain) > limit:
        raise Refusal("body_too_large")
    if not unfolding.eof:
        raise Refusal("compression_broken", "the compressed body ends too early")
    return plain, unfolding.unused_data


def _unzstd(body: bytes) -> bytes:
    """One or more frames, MAX_MEMBERS at most. The first reading bounds the size of all, the second knows whether each
    is whole."""
    plain = b""
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(body, read_across_frames=True)
        if len(reader.read(MAX_BODY + 1)) > MAX_BODY:
            raise Refusal("body_too_large")
        for _ in range(MAX_MEMBERS):
            if not body:
                return plain
            frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
            plain += frame.decompress(body)
            if not frame.eof:
                raise Refusal("compression_broken", "the compressed body ends too early")
            body = frame.unused_data
    except zstandard.ZstdError as error:
        raise Refusal("compression_broken", f"the body cannot be decompressed: {error}") from error
    if body:
        raise Refusal("compression_broken", f"a body may have {MAX_MEMBERS} frames")
    return plain


_UNFOLD: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _deflate,
    "zstd": _unzstd,
}

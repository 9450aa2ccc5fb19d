"""Reads files of history, row by row: JSON lines or CSV, as they are or packed by gzip, Zstandard or zip."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

import msgspec
import zstandard

from services.ingest import hygiene

MAX_FIELD: Final = 16 * 1024 * 1024  # bytes of a column of a CSV
MAX_DEPTH: Final = 2 * hygiene.MAX_DEPTH  # far enough for the checks to say what is too deep
DELIMITERS: Final = ",;\t|"
_DAMAGE: Final = (EOFError, zlib.error, zipfile.BadZipFile, zstandard.ZstdError, gzip.BadGzipFile, RuntimeError)
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")


class Damaged(ValueError):
    """The rest of a file cannot be unpacked."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its file and line, and its object; what is no object is there as text. ``texts``: of a CSV."""

    place: str
    value: Any
    texts: bool


def rows(file: Path, encoding: str = "utf-8") -> Iterator[Row]:
    """The rows of a file, and of the files in it if it is a zip. What is not of the encoding becomes U+FFFD. Raises
    Damaged where it cannot be read on."""
    try:
        for name, part in _parts(file):
            with _text(part, encoding) as text:
                yield from _of_csv(name, text) if _is_csv(name) else _of_lines(name, text)
    except _DAMAGE as error:
        raise Damaged(f"{file.name} is damaged: {error}") from error


def _parts(file: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """The file itself, or what is in a zip, by name."""
    with file.open("rb") as opened:
        zipped = opened.read(4) in _ZIP
        opened.seek(0)
        if not zipped:
            yield file.name, opened
            return
    with zipfile.ZipFile(file) as archive:
        for name in sorted(archive.namelist()):
            if not name.endswith("/") and not any(part.startswith(("__MACOSX", ".")) for part in name.split("/")):
                with archive.open(name) as opened:
                    yield f"{file.name}/{name}", opened


@contextlib.contextmanager
def _text(part: IO[bytes], encoding: str) -> Iterator[IO[str]]:
    """What is in it, unpacked if its first bytes say that it is packed."""
    buffered = io.BufferedReader(part)  # type: ignore[type-var]
    magic = buffered.peek(4)[:4]
    plain: Any = buffered
    if magic[:2] == b"\x1f\x8b":
        plain = gzip.GzipFile(fileobj=buffered)
    elif magic == b"\x28\xb5\x2f\xfd":
        plain = zstandard.ZstdDecompressor().stream_reader(buffered, read_across_frames=True)
    yield io.TextIOWrapper(
        plain, encoding="utf-8-sig" if encoding == "utf-8" else encoding, errors="replace", newline=""
    )


def _is_csv(name: str) -> bool:
    return not {".csv", ".tsv"}.isdisjoint(suffix.lower() for suffix in PurePosixPath(name).suffixes)


def _of_lines(name: str, text: IO[str]) -> Iterator[Row]:
    """A row a line; of a list that has lines of its own, or that is in one line, a row a member."""
    for number, line in enumerate(text, start=1):
        told = line.strip().removesuffix(",")
        if told not in ("", "[", "]"):
            value = _value(told)
            for one in value if isinstance(value, list) else (value,):
                yield Row(f"{name}:{number}", one, texts=False)


def _value(line: str) -> Any:
    """A line's value; the line itself if it is not JSON or without bottom."""
    try:
        value = _decoded(line)
        is_flat = line.count("{") + line.count("[") <= MAX_DEPTH or hygiene.depth(value) <= MAX_DEPTH
        return value if is_flat else line
    except (ValueError, RecursionError):
        return line


def _decoded(line: str) -> Any:
    """The slow way reads what the fast one refuses: NaN, lone surrogates."""
    try:
        return msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return json.loads(line)


def _of_csv(name: str, text: IO[str]) -> Iterator[Row]:
    csv.field_size_limit(MAX_FIELD)
    head = text.readline()
    delimiter = max(DELIMITERS, key=head.count)
    columns = next(csv.reader([head], delimiter=delimiter), [])
    reader = csv.DictReader(text, fieldnames=columns, restkey="more", delimiter=delimiter)
    while True:
        try:
            value: Any = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            value = f"not CSV: {error}"
        yield Row(f"{name}:{reader.line_num + 1}", value, texts=True)

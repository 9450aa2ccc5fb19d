"""JSON that clients wrap once more: in a form's `data=`, in base64, and in gzip inside of that. Pure."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NotBase64
from typing import Final
from urllib.parse import parse_qsl

from services.ingest.body import decompress
from services.ingest.errors import Refusal

_FORM: Final = re.compile(rb"(?:[\w.%-]*=[^&]{0,64}&){0,8}data=")
_BEGINS_JSON: Final = (b"{", b"[")
_GZIP: Final = b"\x1f\x8b"
_MAX_FIELDS: Final = 16
_STANDARD: Final = bytes.maketrans(b"-_ ", b"+/+")  # base64 for URLs, and a plus that a form made a blank


def unpacked(body: bytes) -> bytes:
    """The JSON in a body that is JSON, or a form, or base64. Raises Refusal for what is none of them."""
    plain = body.lstrip()
    if plain.startswith(_BEGINS_JSON):
        return body
    if _FORM.match(plain):
        plain = form_value(plain)
    return plain if plain.startswith(_BEGINS_JSON) else decoded(plain)


def form_value(form: bytes) -> bytes:
    """The field `data` of a form. Raises Refusal."""
    try:
        fields = parse_qsl(form.decode("latin-1"), max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise Refusal("body_not_json", "a form may have 16 fields") from error
    return next((value.encode().lstrip() for name, value in fields if name == "data"), b"")


def decoded(text: bytes) -> bytes:
    """What base64 of either alphabet says, unfolded if it is gzip. Raises Refusal."""
    bare = text.strip().translate(_STANDARD).rstrip(b"=")
    try:
        plain = b64decode(bare + b"=" * (-len(bare) % 4), validate=True)
    except (NotBase64, ValueError) as error:
        raise Refusal("body_not_json", "the body is neither JSON nor base64 of it") from error
    return decompress(plain, "") if plain.startswith(_GZIP) else plain

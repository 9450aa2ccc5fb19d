"""Imports files into lists, as `throughline import` does with the log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from services.ingest.policy import Policy
from shared.eventlog.port import Record
from shared.identifiers import IdentityRules
from shared.keys import Source
from throughline.importing import Importer, Options, Sending, digest_of
from throughline.tally import Tally

SOURCE = Source(name="shop-web", kind="server", write_keys=["k"])
PLAINLY = Options()


async def imported(
    file: Path, options: Options = PLAINLY, source: Source = SOURCE
) -> tuple[list[Any], list[Any], Tally]:
    """The touchpoints without their `received_at`, the dead letters, and the tally. Raises Damaged, UnknownFormat."""
    touchpoints: list[Any] = []
    letters: list[Any] = []

    async def append(records: list[Record], rejected: list[Record]) -> None:
        touchpoints.extend(map(_document, records))
        letters.extend(map(_document, rejected))

    tally = Tally()
    export = options.export_of(file)
    sending = Sending(source, Policy(source), IdentityRules())
    importer = Importer(append, sending, export, options, digest_of(file), tally)
    await importer.run(file, None)
    return touchpoints, letters, tally


def _document(record: Record) -> Any:
    document = json.loads(record.value)
    del document["received_at"]
    return document

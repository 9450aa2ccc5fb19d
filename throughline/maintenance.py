"""`verify`: is what is stored what it should be? `replay`: build it again."""

from __future__ import annotations

import asyncio

import typer

from services.stitcher.replay import replay as replay_all
from services.stitcher.settings import StitcherSettings
from services.stitcher.verify import verify as verify_all
from throughline.environment import fail, with_database
from throughline.reports import Told


def verify() -> None:
    """Fold everything from scratch and compare it with what is stored; each difference is printed."""
    with with_database(StitcherSettings) as settings, Told() as told:
        problems = asyncio.run(verify_all(settings, told))
    if problems:
        fail(f"{problems} differences")
    typer.echo("verified: journeys, profiles and rollups are what the touchpoints give")


def replay() -> None:
    """Build identities, journeys and rollups again from the stored touchpoints; the services wait meanwhile."""
    with with_database(StitcherSettings) as settings, Told() as told:
        asyncio.run(replay_all(settings, told))
    typer.echo("replayed")

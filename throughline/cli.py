"""The console script: one command a line, each in a module of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from throughline import deadletters, importing, links, maintenance, maps, services, settings, supervisor

app = typer.Typer(
    help="Throughline: live customer journeys from event streams.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


@app.command()
def run(
    demo: Annotated[bool, typer.Option("--demo", help="Import a sample history and keep live traffic going.")] = False,
) -> None:
    """Run the whole pipeline in the foreground, until Ctrl-C."""
    if demo:
        from throughline.demo import companion

        supervisor.run(companion)
    else:
        supervisor.run()


app.command()(services.ingest)
app.command()(services.stitcher)
app.command()(services.metrics)
app.command()(services.migrate)
app.command("settings")(settings.show)
app.command("import")(importing.import_files)
app.command()(maintenance.verify)
app.command()(maintenance.replay)
app.add_typer(deadletters.app, name="deadletters")
app.add_typer(links.app, name="links")
app.add_typer(maps.app, name="maps")

if __name__ == "__main__":
    app()

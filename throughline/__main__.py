"""`python -m throughline` is the console script."""

from throughline.cli import app

app()

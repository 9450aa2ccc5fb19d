"""`keys new | hash | seal`: keys for `sources.yaml` and `readers.yaml`, and those that seal dead letters."""

from __future__ import annotations

import secrets
import sys

import typer
from cryptography.fernet import Fernet

from shared.keys import hashed
from throughline.environment import fail

app = typer.Typer(help="Make keys, and hash them.", no_args_is_help=True, add_completion=False)


@app.command()
def new() -> None:
    """Print a new key, which goes to whoever sends or asks, and its hash, which goes into the file."""
    key = secrets.token_urlsafe(24)
    typer.echo(f"key:  {key}")
    typer.echo(f"hash: {hashed(key)}")


@app.command()
def seal() -> None:
    """Print a key for THROUGHLINE_DEADLETTER_KEY, which seals what dead letters hold."""
    typer.echo(Fernet.generate_key().decode())


@app.command("hash")
def hash_() -> None:
    """Print the hash of the key that comes on the standard input, where no list of processes shows it."""
    key = sys.stdin.readline().rstrip("\r\n")
    if not key:
        fail("no key came on the standard input; for example: throughline keys hash < key.txt", 2)
    typer.echo(hashed(key))

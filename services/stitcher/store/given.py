"""Statements that take many rows: as arrays where they are few, copied into a temporary table where they are many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

MANY: Final = 64  # rows from which a copy is cheaper than arrays, to the driver and to PostgreSQL
_TYPES: Final = {"uuid", "text", "int", "smallint", "bigint", "bool", "bytea", "numeric"}


@dataclass(frozen=True)
class Given:
    """A statement in which ``{given}`` stands for rows of these columns (``uid uuid, key text``), in their order."""

    name: str
    columns: str
    statement: str

    @cached_property
    def names(self) -> list[str]:
        return [column.split()[0] for column in self.columns.split(", ")]

    @cached_property
    def table(self) -> str:
        """Creates the temporary table; its rows go with the transaction."""
        return f"create temporary table given_{self.name} ({self.columns}) on commit delete rows"

    @cached_property
    def unnested(self) -> str:
        types = [column.split()[1] for column in self.columns.split(", ")]
        assert set(types) <= _TYPES, "arrays of arrays cannot be unnested row by row"
        arrays = ", ".join(f"${place}::{type_}[]" for place, type_ in enumerate(types, 1))
        return self.statement.replace("{given}", f"unnest({arrays}) as given({', '.join(self.names)})")

    @cached_property
    def copied(self) -> str:
        return self.statement.replace("{given}", f"given_{self.name} as given")

    async def run(self, connection: Any, rows: Sequence[Sequence[Any]], *, copied: bool = False) -> list[Any]:
        """Runs it with these rows; answers what it returns. ``copied``: through the temporary table, which must be
        there, and empty."""
        if copied:
            await connection.copy_records_to_table(f"given_{self.name}", records=rows, columns=self.names)
            answer: list[Any] = await connection.fetch(self.copied)
        else:
            arrays = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in self.names]
            answer = await connection.fetch(self.unnested, *arrays)
        return answer

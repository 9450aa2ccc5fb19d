"""`python -m bench [names] [--quick]`: measures one after the other, prints the table, writes it to bench/results."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from bench import freshness, ingest, memory, overload, reading, refold, start, stitching
from bench.result import FULL, QUICK, Line, Scale
from bench.workload import BYTES, Workload, bodies, now

RESULTS = Path(__file__).parent / "results"
Measure = Callable[[Path, Scale], Awaitable[list[Line]]]
MEASUREMENTS: dict[str, Measure] = {
    "ingest": ingest.measure,
    "overload": overload.measure,
    "stitching": stitching.measure,
    "refold": refold.measure,
    "freshness": freshness.measure,
    "reading": reading.measure,
    "memory": memory.measure,
    "start": start.measure,
}
COLUMNS = ("measurement", "what", "value", "unit", "floor", "aim", "verdict", "note")


def main(words: Sequence[str]) -> int:
    """2 for a name that is none; 1 when a measurement failed."""
    scale = QUICK if "--quick" in words else FULL
    names = [word for word in words if word != "--quick"] or list(MEASUREMENTS)
    if unknown := [name for name in names if name not in MEASUREMENTS]:
        print(f"no measurement {', '.join(unknown)}; there are {', '.join(MEASUREMENTS)}", file=sys.stderr)
        return 2
    console, lines, failed = Console(), list[Line](), 0
    facts = machine(scale)
    for name in names:
        console.print(f"measuring {name} …")
        home = Path(tempfile.mkdtemp(prefix="throughline-bench-"))
        try:
            lines += uvloop.run(_one(MEASUREMENTS[name], home, scale))
        except (TimeoutError, RuntimeError, OSError, AssertionError) as error:
            failed, said = 1, f"{type(error).__name__}: {error}"
            console.print(f"{name} failed: {said}", style="red", markup=False)
            facts[f"{name} failed"] = said.splitlines()[0]
        finally:
            shutil.rmtree(home, ignore_errors=True)
        console.print(table([line for line in lines if line.measurement == name]))
    if scale is FULL:  # so little time and so few touchpoints measure nothing
        write(facts, lines)
    return failed


async def _one(measure: Measure, home: Path, scale: Scale) -> list[Line]:
    return await measure(home / "work", scale)


def machine(scale: Scale) -> dict[str, str]:
    """What the figures depend on."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "platform": platform.platform(),
        "python": platform.python_version(), "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 1e9:.0f} GB", "touchpoints": str(scale.touchpoints),
        "load average before": f"{os.getloadavg()[0]:.2f}",
        "speed": f"{decoding():.2f} microseconds to decode the JSON of one touchpoint of {BYTES} bytes with msgspec, "
        f"{interpreting():.2f} to read its members in a loop of Python's",
    }  # fmt: skip


def decoding() -> float:
    """Microseconds a touchpoint: what tells one machine, and one hour of a shared machine, from another."""
    sent = list(bodies(Workload(2_000, 1_000, now()), 100))
    decode = msgspec.json.Decoder().decode
    return _best(lambda: [decode(body) for body in sent]) / 2_000 * 1e6


def interpreting() -> float:
    """Microseconds a touchpoint: what tells one build of Python from another."""
    calls = [msgspec.json.decode(line) for line in Workload(2_000, 1_000, now())]
    return _best(lambda: [_members(call) for call in calls]) / 2_000 * 1e6


def _members(value: object) -> int:
    return 1 + sum(map(_members, value.values())) if isinstance(value, dict) else 1


def _best(work: Callable[[], object]) -> float:
    """The shortest of some runs, in seconds."""
    took = []
    for _ in range(5):
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return min(took)


def cells(line: Line) -> list[str]:
    """A line as the table shows it."""
    value = f"{line.value:,.0f}" if abs(line.value) >= 1000 else f"{line.value:.3g}"
    targets = ["" if each is None else f"{each:,g}" for each in (line.floor, line.aim)]
    return [line.measurement, line.what, value, line.unit, *targets, line.verdict, line.note]


def table(lines: Sequence[Line]) -> Table:
    """For a terminal."""
    found = Table(*COLUMNS)
    for line in lines:
        found.add_row(*cells(line))
    return found


def write(facts: dict[str, str], lines: Sequence[Line]) -> None:
    """As Markdown and as JSON, named by the day and the minute."""
    RESULTS.mkdir(exist_ok=True)
    name = facts["date"][:16].replace(":", "")
    rows = [f"| {' | '.join(row)} |" for row in [COLUMNS, ["---"] * len(COLUMNS), *map(cells, lines)]]
    text = [f"# Measured on {facts['date']}", "", *(f"- {key}: {value}" for key, value in facts.items()), "", *rows, ""]
    (RESULTS / f"{name}.md").write_text("\n".join(text))
    found = {"facts": facts, "lines": [asdict(line) | {"verdict": line.verdict} for line in lines]}
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

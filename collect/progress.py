"""What a long run shows: a bar in a terminal, plain lines elsewhere."""

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


def show(text):
    """One plain line, flushed, so that a log file is never behind."""
    print(text, flush=True)


def progress(pairs, weights):
    """Pass (cell, row) pairs on while a bar fills by each cell's weight (its expected FLOPs)."""
    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()]
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"{len(weights)} cells", total=sum(weights.values()) or 1)
        for cell, row in pairs:
            bar.advance(task, weights.get(cell, 0))
            yield cell, row

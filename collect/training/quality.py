"""Quality of a training's snapshots: each is a cell, measured once and kept in a store."""

from pathlib import Path

from collect.run.cell import Cell, ExecutionConfig, cell_key, measure, prepare
from collect.sampling.loop import SamplingConfig
from collect.store.store import Store
from collect.training.loop import snapshots


def measure_snapshots(folder, labels, open_at, check, device="cpu", more=lambda family, label, step: {}):
    """(label, step, row) of every snapshot of the labels that <folder>/quality does not hold yet, measured and kept.

    open_at(label, path): the family with a snapshot as the label's weights. check: how it is sampled (collect.config's
    Check). more(family, label, step): further columns.
    """
    store, execution = Store(Path(folder) / "quality"), ExecutionConfig(device)
    for label in labels:
        cell = Cell(label, SamplingConfig(check.sampler, check.steps, check.guidance), check.samples)
        for step, path in snapshots(Path(folder) / label):
            family = open_at(label, path)
            scores = family.metrics(device=device)
            name, identity = f"{cell.name}-t{step}", cell_key(family, scores, execution)(cell)
            if store.has(name, identity):
                continue
            row = measure(cell, family, prepare(family.model(label), execution), scores) | more(family, label, step)
            store.write(name, identity, row)
            yield label, step, row

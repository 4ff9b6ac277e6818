"""Quality of a training's snapshots: each is a cell, measured once and kept in a store."""

from collect.run.cell import Cell, ExecutionConfig, cell_key, measure, prepare
from collect.sampling.loop import SamplingConfig


def measure_snapshot(store, family, label, step, check, device="cpu", extra=lambda row: {}):
    """The row of a snapshot, or None where the store holds it.

    family: opened with the snapshot as the label's weights. check: how it is sampled (collect.config's Check).
    extra(row): further columns.
    """
    execution, scores = ExecutionConfig(device), family.metrics(device=device)
    cell = Cell(label, SamplingConfig(check.sampler, check.steps, check.guidance), check.samples)
    name, identity = f"{cell.name}-t{step}", cell_key(family, scores, execution)(cell)
    if store.has(name, identity):
        return None
    row = measure(cell, family, prepare(family.model(label), execution), scores)
    row |= extra(row)
    store.write(name, identity, row)
    return row

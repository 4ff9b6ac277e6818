"""Where workers run: this process, a process per GPU, Ray. Every engine is one function of the same form.

    for event in ENGINES["gpus"](opener, workers=4): ...

    opener() -> (jobs, store, measure)   called once in every worker; picklable for all engines but 'process'
    workers                              how many; None is one per GPU
    options                              retry, config: as collect.run.worker.work takes them; address: of a Ray cluster
    events                               of all workers as they come, see collect.run.worker.KINDS

A worker that is killed, or broken by a GPU fault, is reported ('lost') and replaced a few times; its cells are taken
over in any case, by the others or by the next run. Stopping the loop stops the workers: they release their leases and
keep their partial sums.
"""

from collect.run.processes import gpus, process
from collect.run.ray_actors import ray
from scalinglaws.schema import InputError

ENGINES = {
    "process": process,  # this process
    "gpus":    gpus,     # a process per GPU, or several on the CPU
    "ray":     ray,      # actors on a Ray cluster
}  # fmt: skip


def engine(name):
    """The engine of that name; InputError lists them."""
    if name not in ENGINES:
        raise InputError(f"No engine named '{name}'. Known engines: {', '.join(ENGINES)}.")
    return ENGINES[name]

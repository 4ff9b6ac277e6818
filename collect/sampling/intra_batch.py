"""Intra-batch workers: threads that share a batch, each with a part of it and its share of the cores.

The layers of a small network are too short to be split over cores: two halves of a batch on a core each are done
sooner than the whole on both. On a GPU one worker is right: its cores are one queue.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch


def run_in_parallel(workers, run, *columns):
    """list(map(run, *columns)) with as many calls at once as there are workers; the first error is raised."""
    if workers == 1:
        return list(map(run, *columns))
    before = torch.get_num_threads()
    share = max(1, before // workers)
    torch.set_num_threads(share)  # in this thread, too: some libraries have one setting for all threads
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(share,)) as pool:
            return list(pool.map(run, *columns))
    finally:
        torch.set_num_threads(before)


def split(indices, workers):
    """The indices cut into at most `workers` parts of as near as can be the same size, none empty."""
    return np.array_split(indices, min(workers, len(indices)))

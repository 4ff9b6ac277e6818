"""Parts of a batch side by side, a thread each with its share of the cores.

The layers of a small network are too short to be split over cores: two halves of a batch on a core each are done
sooner than the whole on both. On a GPU one lane is right: its cores are one queue.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch


def side_by_side(lanes, run, *columns):
    """list(map(run, *columns)) with as many calls at once as there are lanes; the first error is raised."""
    if lanes == 1:
        return list(map(run, *columns))
    share = max(1, torch.get_num_threads() // lanes)
    with _threads(share), ThreadPoolExecutor(lanes, initializer=torch.set_num_threads, initargs=(share,)) as pool:
        return list(pool.map(run, *columns))


@contextmanager
def _threads(count):
    """A number of threads for torch, and for the libraries whose one setting it shares, put back at the end."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def shares(indices, lanes):
    """The indices cut into at most `lanes` parts of as near as can be the same size, none empty."""
    return np.array_split(indices, min(lanes, len(indices)))

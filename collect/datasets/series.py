"""Weekly carbon dioxide in the air over Mauna Loa, cut into weeks known and weeks to forecast.

The series comes with statsmodels (statsmodels.datasets.co2: Keeling & Whorf 2004, 1958 to 2001, public domain), so
nothing is fetched. 59 of its 2,284 weeks are missing, all before 1986; straight lines fill them.
"""

from dataclasses import dataclass

import numpy as np

TEST_FROM = "1986-01-01"  # the first week that is never trained on: 835 weeks of 2,284
CONTEXT, HORIZON = 52, 8  # weeks known before a forecast, weeks forecast


@dataclass(frozen=True)
class Windows:
    """Pieces of a series, as differences from the last known week, in ppm."""

    contexts: np.ndarray  # float64 [window, CONTEXT], the last of each is 0
    futures: np.ndarray  # float64 [window, HORIZON]

    def __len__(self):
        return len(self.futures)


def weekly_co2():
    """(dates [week], carbon dioxide in ppm, float64 [week])."""
    from statsmodels.datasets import co2

    series = co2.load_pandas().data["co2"].interpolate()
    return series.index.to_numpy(), series.to_numpy(float)


def windows(values, first, last, every=1):
    """The Windows whose weeks to forecast lie in values[first:last]; weeks known may lie before."""
    starts = np.arange(max(first, CONTEXT), last - HORIZON + 1, every)
    pieces = np.stack([values[s - CONTEXT : s + HORIZON] for s in starts])
    pieces = pieces - pieces[:, CONTEXT - 1 : CONTEXT]
    return Windows(pieces[:, :CONTEXT], pieces[:, CONTEXT:])


def co2_windows():
    """(Windows to train on, one a week, all before TEST_FROM; Windows to test on, whose forecasts do not overlap)."""
    dates, values = weekly_co2()
    split = int(np.searchsorted(dates, np.datetime64(TEST_FROM)))
    return windows(values, 0, split), windows(values, split, len(values), HORIZON)

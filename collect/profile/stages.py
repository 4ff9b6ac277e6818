"""Seconds and joules of the stages of sampling (text, denoise, decode), batch after batch.

Energy counters move every 20 to 100 ms, so a window under a second says nothing: a stage is weighed in the batches
that follow one in which it took that long, and its joules are those per sample of the weighed batches. What was not
weighed is null, with the reason; short batches pay for no counter.
"""

import numpy as np

from collect.profile.energy import SHORTEST, Joules
from collect.profile.meters import Timer

COLUMNS = {  # stage: its columns of seconds and joules per sample
    "text": ("seconds_text", "joules_text"),
    "denoise": ("seconds_per_image", "joules_per_image"),
    "decode": ("seconds_decode", "joules_decode"),
}


class Stage:
    """One stage of a cell: `begin` before a batch, `with` around each piece of its work, `end` after the batch.

    meter: (source, reason) as energy.find gives them. A batch that fails is never ended, and so not counted.
    """

    def __init__(self, device="cpu", meter=(None, "No energy meter was given.")):
        self.device, (self.source, self.reason) = device, meter
        self.readings = []  # (seconds, samples) of each batch
        self.joules, self.weighed = 0.0, 0  # of the weighed batches: joules, samples
        self.shortest_window = 0.0  # seconds, of the `with` blocks of the last batch

    def begin(self):
        self.timer, self.window, self.windows = Timer(self.device), None, []
        if self.source and self.shortest_window >= SHORTEST:
            self.window = Joules(self.source, device=self.device)

    def __enter__(self):
        if self.window:
            self.window.__enter__()
        self.before = self.timer.seconds
        self.timer.__enter__()

    def __exit__(self, *error):
        self.timer.__exit__(*error)
        self.windows.append(self.timer.seconds - self.before)
        if self.window:
            self.window.__exit__(*error)

    def end(self, samples):
        self.readings.append((self.timer.seconds, samples))
        self.shortest_window = min(self.windows, default=0.0)
        if self.window and self.window.joules is not None:
            self.joules, self.weighed = self.joules + self.window.joules, self.weighed + samples
        elif self.window:
            self.reason = self.window.reason

    @property
    def seconds_per_sample(self):
        return sum(seconds for seconds, _ in self.readings) / sum(samples for _, samples in self.readings)

    @property
    def joules_per_sample(self):
        """Joules, or None; then `why` says why."""
        return self.joules / self.weighed if self.weighed else None

    @property
    def why(self):
        return self.reason or f"No batch after the first took {SHORTEST:g} s or more, as energy counters need."

    def arrays(self):
        """[batch, (seconds, samples)] and (joules, samples weighed), for a store."""
        return {"readings": np.array(self.readings).reshape(-1, 2), "weighed": np.array([self.joules, self.weighed])}

    def resume(self, readings, weighed):
        """This stage, going on from arrays()."""
        self.readings = [(seconds, int(samples)) for seconds, samples in readings.tolist()]
        self.joules, self.weighed = float(weighed[0]), int(weighed[1])
        return self


def unknown(reasons):
    """{column: why it is null} as one sentence per reason, or None: what the column `unknown` holds."""
    by_reason = {}
    for column, reason in reasons.items():
        by_reason.setdefault(reason, []).append(column)
    return " ".join(f"{', '.join(columns)}: {reason}" for reason, columns in by_reason.items()) or None

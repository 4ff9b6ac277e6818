"""
The best guidance
=================

Guidance is chosen on one half of the samples and reported on the other: the best of several noisy numbers looks
better than it is.
"""

import scalinglaws as sl

table = sl.read("tiny-ldm")
best = sl.optimal_guidance(table[table.sampler == "ddim"], quality="fd")
best.plot()

"""
The best guidance
=================

Quality against the guidance weight; the best of every model and step count is marked. This table does not hold the
two halves of the samples apart, so the winner is reported on the samples that chose it, a little optimistic; `collect`
writes halves, and then one chooses and the other reports.
"""

import scalinglaws as sl

table = sl.read("tiny-ldm")
best = sl.optimal_guidance(table[table.sampler == "ddim"], quality="fd")
best.plot()

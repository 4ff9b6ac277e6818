"""
Where two samplers cross
========================

One law for each sampler at one size, fitted in one batch; the steps at which the better one changes, if it does.
"""

import scalinglaws as sl

table = sl.read("tiny-ldm")
rows = table[table.guidance == 1]
groups = sl.fit_groups(
    rows, by="sampler", law="size_steps", quality="fd", inputs={"N": "flops_per_forward", "S": "steps"}
)
crossing = sl.crossover(groups, between=("ddim", "dpm++2m"), at="c16")
print(crossing.summary())
crossing.plot()

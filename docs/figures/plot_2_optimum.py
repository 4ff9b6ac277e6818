"""
The best size for a budget
==========================

Every size spends the same budget, large ones on few steps. The bars are the intervals of a new measurement.
"""

import scalinglaws as sl

table = sl.read("tiny-ldm")
rows = table[(table.sampler == "ddim") & (table.guidance == 1)]
fit = sl.fit(rows, law="size_steps", quality="fd", inputs={"N": "flops_per_forward", "S": "steps"})
best = sl.optimum(fit, budget=3e8, unit="flops")
print(best.summary())
best.plot()

"""
Where two sizes cross
=====================

Below the crossing the small model is better, since it can afford more steps; above it the large one.
"""

import scalinglaws as sl

table = sl.read("tiny-ldm")
rows = table[(table.sampler == "ddim") & (table.guidance == 1)]
fit = sl.fit(rows, law="size_steps", quality="fd", inputs={"N": "flops_per_forward", "S": "steps"})
crossing = sl.crossover(fit, between=("c8", "c16"), unit="flops")
print(crossing.summary())
crossing.plot()

"""
Quality against sampling cost
=============================

Seven sizes of the bundled family, DDIM without guidance: small models win while the budget is small. Points are
measured with their standard errors, lines are the fitted law with the interval of the curve.
"""

import scalinglaws as sl

table = sl.read("tiny-ldm")
rows = table[(table.sampler == "ddim") & (table.guidance == 1)]
fit = sl.fit(rows, law="size_steps", quality="fd", inputs={"N": "flops_per_forward", "S": "steps"})
fit.plot()

"""
A published family
==================

EDM2 on ImageNet-512 without guidance (Karras et al. 2023): FID against FLOPs per forward pass, a power law with a
floor. Two sizes more would be needed to pin the floor down, and the fit says so.
"""

import scalinglaws as sl

table = sl.read("edm2")
rows = table[(table.family == "EDM2 img512 no guidance") & table.fid.notna()]
fit = sl.fit(rows, law="power_floor", quality="fid", inputs="gflops_per_forward")
print(fit.summary())
fit.plot()

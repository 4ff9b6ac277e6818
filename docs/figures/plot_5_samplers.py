"""
Samplers in one batch
=====================

One law for each sampler of the bundled family at one size, fitted in one batch.
"""

import scalinglaws as sl

table = sl.read("tiny-ldm")
rows = table[(table.guidance == 1) & (table.model == "c16")]
groups = sl.fit_groups(rows, by="sampler", law="power_floor", quality="fd", inputs={"S": "steps"})
ax = None
for name in sorted(groups.fits):
    ax = groups[name].plot(ax)
ax.set_title("c16: every sampler has its own law")

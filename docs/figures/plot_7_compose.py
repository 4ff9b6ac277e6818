"""
A figure of your own
====================

Every `.plot` takes the Axes to draw on and returns it, so that results are put together as you like.
"""

import matplotlib.pyplot as plt

import scalinglaws as sl

table = sl.read("tiny-ldm")
rows = table[(table.sampler == "ddim") & (table.guidance == 1)]
fit = sl.fit(rows, law="size_steps", quality="fd", inputs={"N": "flops_per_forward", "S": "steps"})

figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for ax, budget in zip(axes, ("50 MFLOPs", "1 GFLOPs"), strict=True):
    sl.optimum(fit, budget).plot(ax)
    ax.set_title(f"{budget} per image")

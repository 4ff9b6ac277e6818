"""Decisions from fitted laws and measured rows, one question a module; docs/architecture.md lists them all.

What all questions share:

* rows: the rows of a study, narrowed to one setting; cost: CostModel, what one image costs, in one unit
* fitted: one law of size and steps with the rows behind it: a fit, a group's fit, or a level of a shared law
* curves: Curve: quality along cost or along an input, fitted or measured; zeros, vertices: where such curves cross 0
  and where they are least
* power: an effect with its interval, and what could have been seen; york, censored: straight lines with such intervals
* belief: ln quality at chosen points as one Gaussian, behind every plan of what to measure next

Questions of sampling: optimum, crossover, guidance, samplers, accounting. Of training: allocate, serving,
training_budget, training_trend. Of what to measure: design, replay. Of what a setting is worth: effects, paired,
acceleration, pretraining, robustness, tiers, diffusion_time.
"""

"""Decisions from fitted laws: what sampling costs, the best size and steps for a budget, and where curves cross.

* cost: CostModel: what one image costs, by size and steps, in one unit; used by everything below
* fitted: one law of size and steps with the rows behind it: a fit, a group's fit, or a level of a shared law
* curves: Curve: quality along cost or along an input, fitted or measured
* measured: measured rows without a law: points, frontier, the best size at a budget
* crossover: where two curves cross
* optimum: the best size and steps for a budget
* guidance: the best guidance of every setting, cross-fitted
"""

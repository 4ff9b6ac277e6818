"""A generative model as the sampler sees it: where it comes from, its conditions, what it costs."""

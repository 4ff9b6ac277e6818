"""A generative model as the sampler sees it: where it comes from, what it is asked for, what it costs."""

"""From seeds to samples: samplers by name, guidance, best of n."""

"""A family of trained models on disk: one trained here, or a table of checkpoints."""

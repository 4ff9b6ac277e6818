"""Training a family from scratch."""

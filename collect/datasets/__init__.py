"""Training data built from public package archives."""

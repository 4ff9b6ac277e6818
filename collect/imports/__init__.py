"""Runs of others, read into the schema."""

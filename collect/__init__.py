"""Measure a family of generative models: train, sample, score, and store one row per finished cell."""

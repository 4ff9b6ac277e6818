"""Whole files in a place that workers share: finished cells, failures, partial sums, leases."""

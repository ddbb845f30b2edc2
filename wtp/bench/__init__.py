"""Benchmarks: programs that return figures with units, beside a baseline of the same run."""

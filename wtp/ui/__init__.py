"""Snapshots as something to look at: plain values in, text and rich renderables out."""

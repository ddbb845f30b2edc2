"""Processors that are there from the start, written as users write theirs: copy and change them."""

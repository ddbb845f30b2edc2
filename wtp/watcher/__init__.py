"""Seeing and hearing a whole room in step."""

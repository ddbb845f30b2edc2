"""The broker's binary protocol."""

"""Files in chunks: the manifest, what was sent, what is there, and putting it together."""

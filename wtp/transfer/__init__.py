"""Files in parts: what stands between a file here and the same file elsewhere; no network."""

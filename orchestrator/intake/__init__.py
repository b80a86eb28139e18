"""Text and trees in; the base tree and the patched tree out."""

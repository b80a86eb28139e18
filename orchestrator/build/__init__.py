"""A tree in; a kernel image with its .config out."""

"""The run record as people and machines read it."""

"""The commands, by what they work on: each reads its flags and prints its answer."""

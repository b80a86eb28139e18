"""Pure: what the results mean. No disk, no clock, no processes."""

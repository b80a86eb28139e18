"""How often kdelta is right: seeded changes with known answers, run and compared."""

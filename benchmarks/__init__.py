"""How fast the ledger is, as ratios to work that nobody can avoid: `python -m benchmarks`."""

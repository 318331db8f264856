"""Who pays: owners, the division of a segment's cost, unit costs, explanations."""

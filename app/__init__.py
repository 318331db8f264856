"""gpuledger: who held which GPU, what it cost, what it served, and what was wasted."""

"""What gpuledger does, step by step: load, compute, apply. Only workflows end a transaction."""

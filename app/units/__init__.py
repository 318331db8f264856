"""Money, windows, intervals and identities: values that know nothing of GPUs."""

"""What counts as waste: one detector a file, and the states a finding goes through."""

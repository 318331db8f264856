"""One module a noun of the REST interface."""

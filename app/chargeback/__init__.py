"""Tables for people and files: costs, inference, reports, periods; the only rounding to cents."""

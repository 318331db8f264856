"""The outside systems that facts come from: Prometheus and Kubernetes, parsed at the door."""

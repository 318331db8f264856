"""A synthetic fleet with known truth, served as a Prometheus API and as a Kubernetes API."""

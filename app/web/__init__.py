"""The HTTP interface: REST under /v1, health, metrics, and the dashboard."""

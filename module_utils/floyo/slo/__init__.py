"""Service levels: what is measured, and whether it is enough."""

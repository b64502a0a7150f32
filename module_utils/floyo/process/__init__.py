"""The unit's processes: what they take, over time."""

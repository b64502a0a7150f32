"""Figures for Prometheus, rules over them, and messages about what they say."""

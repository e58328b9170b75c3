"""Metrics and decision log: what is seen from outside."""

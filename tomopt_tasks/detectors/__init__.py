"""Panels, layers, cost and budget."""

"""The optimisation loop."""

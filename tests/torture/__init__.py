"""Runs that are killed at random moments, and what they leave; see ``__main__``."""

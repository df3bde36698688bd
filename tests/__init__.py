"""Tests; see the house rules in README.md: a name is a sentence that may be false."""

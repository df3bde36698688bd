"""What a fit minimises."""

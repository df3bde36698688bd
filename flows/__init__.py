"""What runs in which order; no physics, no files."""

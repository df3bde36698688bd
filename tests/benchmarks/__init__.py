"""Published results, computed again; not part of the tests that run at every change."""

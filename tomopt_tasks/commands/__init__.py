"""What ``tomopt`` can say about a store, one command a module; no torch, no Prefect."""

"""Ablations: a grid of settings times seeds, as run folders; their table and figure."""

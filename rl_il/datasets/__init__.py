"""Demonstration files: a module for each format. The content of a file decides which of them reads it."""

from rl_il.datasets.loading import load_trajectories
from rl_il.datasets.npz import save_trajectories

__all__ = ["load_trajectories", "save_trajectories"]

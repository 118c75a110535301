"""Demonstration files: one module for each format; the suffix of a file decides which one reads it."""

from rl_il.datasets.loading import load_trajectories
from rl_il.datasets.npz import save_trajectories

__all__ = ["load_trajectories", "save_trajectories"]

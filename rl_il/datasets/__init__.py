"""Demonstration files: one module a format, found by the file's suffix."""

from rl_il.datasets.loading import load_trajectories
from rl_il.datasets.npz import save_trajectories

__all__ = ["load_trajectories", "save_trajectories"]

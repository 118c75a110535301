"""Files of `torch.save` that hold demonstrations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rl_il.files import load_torch


def read(path: Path) -> Any:
    """Return dicts and lists with arrays in place of tensors."""
    return to_numpy(load_torch(path.open("rb")))


def to_numpy(tree: Any) -> Any:
    """Return the tree with arrays in place of tensors, and lists in place of tuples."""
    if hasattr(tree, "detach"):
        return tree.detach().cpu().numpy()
    if isinstance(tree, dict):
        return {name: to_numpy(value) for name, value in tree.items()}
    return [*map(to_numpy, tree)] if isinstance(tree, (list, tuple)) else tree

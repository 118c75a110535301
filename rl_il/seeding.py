"""Random streams: one for each purpose and iteration, all from one root seed.

A stream depends on nothing that was drawn before, so that turning videos on, adding workers, or going on
after a stop changes no other number.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rl_il.errors import InputError

# The order is part of every result: add at the end only.
PURPOSES = (
    "weights",
    "demonstrations",
    "validation",
    "training",
    "collection",
    "evaluation",
    "video",
    "expert",
    "teaching",
    "teacher",
    "augmentation",
    "selection",
    "noise",
)


def stream(root_seed: int, purpose: str, itr: int = 0, *step: int) -> np.random.Generator:
    """Return the generator for one purpose in one iteration, or in one gradient step of it."""
    if root_seed < 0:
        raise InputError(f"--seed must be 0 or more, got {root_seed}")
    return np.random.default_rng(np.random.SeedSequence(root_seed, spawn_key=(PURPOSES.index(purpose), itr, *step)))


def episode_seeds(rng: np.random.Generator) -> Iterator[int]:
    """Yield seeds without end, one for each episode, so that no two episodes start equally."""
    while True:
        yield int(rng.integers(2**62))

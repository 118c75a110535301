"""Random streams, one for each purpose and iteration, which all come from one root seed.

A stream does not depend on the numbers drawn from other streams. So a video, another number of workers, or a resumed
run does not change any other random number.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rl_il.errors import InputError
from rl_il.limits import COUNTABLE, short

# The position of a purpose decides its random numbers, and so the results. Add new purposes only at the end.
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
    "torch",
    "rule",
    "reinforcement",
)


# The environment draws its start from the episode's seed. A rule or an actor that draws adds one of these numbers:
# `np.random.default_rng([seed, RULE_DRAWS])`.
RULE_DRAWS, RANDOM_ACTIONS, EXPERT_DRAWS, POLICY_DRAWS = 1, 2, 3, 4


def stream(root_seed: int, purpose: str, itr: int = 0, *step: int) -> np.random.Generator:
    """Return the random generator for a purpose in an iteration, or in one gradient step of the iteration.

    Raise `InputError` for a negative seed, or one of 64 bits.
    """
    if not 0 <= root_seed <= COUNTABLE:
        raise InputError(f"--seed must be 0 or more and at most {COUNTABLE:,}, got {short(root_seed)}")
    return np.random.default_rng(np.random.SeedSequence(root_seed, spawn_key=(PURPOSES.index(purpose), itr, *step)))


def evaluation_seeds(root_seed: int, fixed: range | None) -> np.random.Generator | range:
    """Return the seeds of an evaluation's episodes if they are fixed, or the stream that draws them."""
    return stream(root_seed, "evaluation") if fixed is None else fixed


def episode_seeds(rng: np.random.Generator) -> Iterator[int]:
    """Yield random seeds without end, one for each episode."""
    while True:
        yield int(rng.integers(2**62))

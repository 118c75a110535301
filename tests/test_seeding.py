import itertools

import numpy as np
import pytest

from rl_il.errors import InputError
from rl_il.seeding import PURPOSES, episode_seeds, stream


def test_every_seed_purpose_and_iteration_has_its_own_stream():
    keys = [(1, purpose, *rest) for purpose in PURPOSES for i in range(50) for rest in ((i,), (1, i), (i, 2))]
    keys += [(seed, "training", 0) for seed in range(100)]
    draws = {key: int(stream(*key).integers(2**62)) for key in keys}
    assert len(set(draws.values())) == len(draws)


def test_a_negative_seed_is_refused():
    with pytest.raises(InputError, match=r"--seed.*-1"):
        stream(-1, "training")


def test_stream_does_not_depend_on_what_was_drawn_before():
    alone = stream(1, "training", 4).random(5)
    others = [stream(1, purpose, itr) for purpose in PURPOSES for itr in range(5)]
    for rng in others:
        rng.random(1000)
    np.random.random(7)  # the global generator must have no influence
    np.testing.assert_array_equal(stream(1, "training", 4).random(5), alone)


def test_purposes_keep_their_positions():
    """At another position, a purpose would have another stream, and existing runs could not be repeated."""
    known = "weights demonstrations validation training collection evaluation video expert teaching teacher"
    known = [*known.split(), "augmentation", "selection", "noise"]
    assert list(PURPOSES[: len(known)]) == known


def test_episode_seeds_never_repeat_and_follow_the_generator():
    seeds, again = (list(itertools.islice(episode_seeds(stream(1, "evaluation")), 10_000)) for _ in range(2))
    assert seeds == again
    assert len(set(seeds)) == 10_000
    assert all(type(seed) is int and seed >= 0 for seed in seeds)

import itertools

import numpy as np
import pytest

from rl_il.infrastructure.seeding import PURPOSES, episode_seeds, stream


def test_every_purpose_and_iteration_has_a_stream_of_its_own():
    draws = {int(stream(1, purpose, itr).integers(2**62)) for purpose in PURPOSES for itr in range(50)}
    assert len(draws) == 50 * len(PURPOSES)


def test_root_seeds_differ():
    assert len({int(stream(seed, "training").integers(2**62)) for seed in range(100)}) == 100


@pytest.mark.parametrize("purpose", PURPOSES)
def test_stream_repeats(purpose):
    first, again = (stream(3, purpose, itr=2).random(20) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_stream_does_not_depend_on_what_was_drawn_before():
    alone = stream(1, "training", 4).random(5)
    others = [stream(1, purpose, itr) for purpose in PURPOSES for itr in range(5)]
    for rng in others:
        rng.random(1000)
    np.random.random(7)  # the global generator must not matter
    np.testing.assert_array_equal(stream(1, "training", 4).random(5), alone)


def test_streams_can_be_drawn_from_in_turns():
    together = stream(1, "video"), stream(1, "evaluation")
    in_turns = np.array([[rng.random() for rng in together] for _ in range(5)])
    np.testing.assert_array_equal(in_turns.T, [stream(1, "video").random(5), stream(1, "evaluation").random(5)])


def test_purposes_keep_their_places():
    """A purpose in another place would change the result of every run made so far."""
    known = "weights demonstrations validation training collection evaluation video expert".split()
    assert list(PURPOSES[: len(known)]) == known


def test_episode_seeds_never_repeat():
    seeds = list(itertools.islice(episode_seeds(stream(1, "evaluation")), 10_000))
    assert len(set(seeds)) == 10_000
    assert all(type(seed) is int and seed >= 0 for seed in seeds)


def test_episode_seeds_follow_from_the_generator():
    first, again = (list(itertools.islice(episode_seeds(np.random.default_rng(5)), 10)) for _ in range(2))
    assert first == again

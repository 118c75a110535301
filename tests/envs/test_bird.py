"""The bird: its physics and pipes by hand."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rl_il.envs import Bird, make_env
from rl_il.envs.bird import BIRD, GAP, MAX_STEPS, PERIOD, PIPE, SKY, WIDTH

NAMES = ["Bird-v0", "BirdHard-v0"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", NAMES)
def test_gymnasiums_checker_accepts_it(name):
    check_env(gym.make(name, render_mode="rgb_array").unwrapped)


def bird(height=0.5, gaps=(0.5, 0.5), steps_left=PERIOD, **settings) -> Bird:
    env = Bird(**settings)
    env.reset(seed=0)
    env.height, env.gaps, env.steps_left = height, gaps, steps_left
    return env


def test_a_step_by_hand():
    env = bird(gaps=(0.25, 0.75))
    ob, reward, terminated, truncated, info = env.step(np.array([1.0], np.float32))
    assert env.velocity == pytest.approx(0.07 * 0.5)
    np.testing.assert_allclose(ob, [(PERIOD - 1) / PERIOD, 0.25, 0.75, 0.535], rtol=1e-6)
    assert (reward, terminated, truncated, info) == (1, False, False, {})
    ob = env.step(np.array([1.0], np.float32))[0]
    assert ob[3] == pytest.approx(0.535 + 0.035 + 0.07 * (1 - 0.535) - 0.3 * 0.035)


@pytest.mark.parametrize(("asked", "reached"), [(-5.0, 0.465), (5.0, 0.535)])
def test_a_target_outside_the_range_counts_as_its_end(asked, reached):
    assert bird().step(np.array([asked]))[0][3] == pytest.approx(reached)


@pytest.mark.parametrize(
    ("gap", "steps_left", "hit"),
    [
        (0.9, WIDTH, True),  # the step into the pipe
        (0.9, WIDTH + 1, False),  # still before it
        (0.9, 1, True),  # the last step inside
        (0.5 + GAP - 0.001, WIDTH, False),
        (0.5 + GAP + 0.001, WIDTH, True),
    ],
)
def test_only_a_pipe_without_a_gap_at_the_birds_height_ends_the_episode(gap, steps_left, hit):
    _, reward, terminated, *_ = bird(gaps=(gap, gap), steps_left=steps_left).step(np.array([0.5]))
    assert (terminated, reward) == (hit, float(not hit))


def test_either_gap_is_open_and_their_mean_is_a_crash():
    env = make_env("BirdHard-v0").unwrapped
    for seed in range(50):
        env.reset(seed=seed)
        env._next_pipe()
        lower, upper = env.gaps
        for height, hit in ((lower, False), (upper, False), ((lower + upper) / 2, True)):
            env.height, env.velocity, env.steps_left = height, 0.0, WIDTH
            assert env.step(np.array([height]))[2] == hit


@pytest.mark.parametrize(("name", "two"), [("Bird-v0", [False] * 6), ("BirdHard-v0", [False, True] * 3)])
def test_in_the_hard_mode_every_other_pipe_has_two_gaps(name, two):
    env = make_env(name).unwrapped
    ob, _ = env.reset(seed=3)
    found = []
    for _ in range(6):
        found.append(bool(ob[1] < ob[2]))
        for _ in range(PERIOD):
            env.height = env.gaps[0]
            ob, *_ = env.step(np.array([env.gaps[0]]))
    assert found == two
    assert ob[0] == 1  # a whole period to the pipe after these


def test_the_time_limit():
    assert gym.make("Bird-v0").spec.max_episode_steps == gym.make("BirdHard-v0").spec.max_episode_steps == MAX_STEPS


def test_a_frame_shows_the_bird_and_the_pipe_with_its_gap():
    env = bird(height=0.25, gaps=(0.75, 0.75), steps_left=PERIOD, render_mode="rgb_array")
    frame = env.render()
    assert (frame.shape, frame.dtype) == ((96, 96, 3), np.uint8)
    rows, _ = np.nonzero((frame == BIRD).all(axis=2))
    assert rows.mean() == pytest.approx(0.75 * 95, abs=1)  # rows are counted from the top
    pipe = (frame == PIPE).all(axis=2)
    open_rows = np.nonzero(~pipe.any(axis=1))[0]
    assert (open_rows.min(), open_rows.max()) == (round(96 * (0.25 - GAP)), round(96 * (0.25 + GAP)) - 1)
    assert (frame[0, 0] == SKY).all()

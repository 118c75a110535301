"""The bird's expert."""

import pickle

import numpy as np
import pytest

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.experts.bird_pilot import SMOOTHING, BirdPilot
from rl_il.experts.loading import load_actor, load_expert
from rl_il.infrastructure.rollouts import sample_trajectory
from rl_il.infrastructure.workers import RolloutWorkers
from rl_il.runs.evaluate import record_demos
from rl_il.runs.experiment import run

NAMES = ["Bird-v0", "BirdHard-v0"]
TWO_GAPS = np.array([1.0, 0.25, 0.75, 0.5], np.float32)


def pilot(seed=0) -> BirdPilot:
    made = BirdPilot((4,))
    made.reset(seed)
    return made


def test_the_target_moves_smoothly_from_the_birds_height_to_a_gap():
    actor = pilot()
    first, second = actor.get_action(TWO_GAPS), actor.get_action(TWO_GAPS)
    way = 0.25 * np.sign(first[0] - 0.5)
    np.testing.assert_allclose(first, [0.5 + SMOOTHING * way], rtol=1e-6)
    np.testing.assert_allclose(second, [0.5 + (SMOOTHING + SMOOTHING * (1 - SMOOTHING)) * way], rtol=1e-6)
    assert (first.dtype, first.shape) == (np.float32, (1,))


def test_it_takes_either_gap_and_keeps_to_it_until_the_next_pipe():
    ups = []
    for seed in range(200):
        actor = pilot(seed)
        targets = [float(actor.get_action(TWO_GAPS)[0]) for _ in range(40)]
        up = targets[0] > 0.5
        assert (np.diff(targets) > 0).all() if up else (np.diff(targets) < 0).all()
        assert targets[-1] == pytest.approx(0.75 if up else 0.25, abs=0.001)
        ups.append(up)
    assert 70 < sum(ups) < 130


def test_its_choices_follow_from_the_seed():
    pipes = [TWO_GAPS + np.array([0, i / 1000, 0, 0], np.float32) for i in range(30)]

    def choices(seed):
        actor = pilot(seed)
        return [float(actor.get_action(pipe)[0]) for pipe in pipes]

    assert choices(1) == choices(1) != choices(2)


@pytest.mark.parametrize("name", NAMES)
def test_it_survives(name):
    env = make_env(name)
    for seed in range(10):
        episode = sample_trajectory(env, load_expert(None, env), seed)
        assert (episode.episode_return, episode.truncated) == (1000, True)


def test_it_is_an_expert_for_both_modes_only():
    assert isinstance(load_actor("bird_pilot", make_env("BirdHard-v0")), BirdPilot)
    with pytest.raises(InputError, match="Bird-v0 and BirdHard-v0"):
        load_actor("bird_pilot", make_env("MountainCar-v0"))


def test_it_cannot_label_recorded_observations():
    assert pilot().answers_recorded is False
    with pytest.raises(InputError, match=r"\(2, 4\)"):
        pilot().get_action(np.stack([TWO_GAPS, TWO_GAPS]))
    assert pickle.loads(pickle.dumps(pilot(3))).get_action(TWO_GAPS) == pilot(3).get_action(TWO_GAPS)


def test_workers_fly_like_one_process():
    env = make_env("BirdHard-v0")
    here = [sample_trajectory(env, pilot(), seed, 60) for seed in (5, 6)]
    workers = RolloutWorkers("BirdHard-v0", 2)
    try:
        there = list(workers.episodes(_Fly(), [5, 6]))
    finally:
        workers.close()
    assert all((one.acs == other.acs).all() for one, other in zip(here, there, strict=True))


class _Fly:
    def __call__(self, env, seed):
        return sample_trajectory(env, pilot(), seed, 60)


def test_dagger_asks_it_at_every_step(tmp_path):
    demos = tmp_path / "demos.npz"
    record_demos("BirdHard-v0", demos, n_demos=1, ep_len=60)
    short = {"ep_len": 60, "batch_size": 60, "eval_episodes": 1, "num_agent_train_steps_per_iter": 5}
    config = RunConfig(
        env_name="BirdHard-v0",
        expert_data=str(demos),
        do_dagger=True,
        n_iter=2,
        logdir=str(tmp_path / "run"),
        **short,
    )
    result = run(config, verbose=False)
    assert result.summary["expert_return_mean"] == 60
    assert result.summary["expert_labels"] > 60


def test_without_demonstrations_the_error_says_how_to_record_them(tmp_path):
    with pytest.raises(InputError, match=r"record_demos.* --env_name Bird-v0"):
        run(RunConfig(env_name="Bird-v0", logdir=str(tmp_path / "run")), verbose=False)


def test_it_takes_the_other_gap_if_the_bird_flies_there():
    actor = pilot()
    up = actor.get_action(TWO_GAPS)[0] > 0.5
    away = -0.02 if up else 0.02
    at = TWO_GAPS + np.array([-0.05, 0, 0, away], np.float32)
    target = float(actor.get_action(at)[0])  # begins at the bird's height, and moves to the other gap
    assert target == pytest.approx(at[3] + SMOOTHING * ((0.25 if up else 0.75) - at[3]), rel=1e-5)
    inside = pilot()  # within its gap, the bird may move as it does
    gap = 0.75 if inside.get_action(TWO_GAPS)[0] > 0.5 else 0.25
    for height in (gap, gap + 0.05, gap - 0.1):
        inside.get_action(np.array([0.5, 0.25, 0.75, height], np.float32))
        assert inside.gap == gap

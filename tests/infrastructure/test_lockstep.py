import sys
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import ConstantActor, Corridor, corridor_length
from test_rl_trainer import build

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.lockstep import LockstepEpisodes
from rl_il.infrastructure.rollouts import begin_episodes, sample_n_trajectories
from rl_il.infrastructure.seeding import episode_seeds
from rl_il.infrastructure.workers import rollout_source
from rl_il.policies.actors import RandomActor
from rl_il.types import EXPERT


class FakePool:
    """As envpool does: corridor i starts from `seed` + i, and begins again in the step after its end."""

    made: list = []  # noqa: RUF012

    def __init__(self, name, env_type, num_envs, seed, max_episode_steps):
        assert env_type == "gymnasium"
        self.envs = [Corridor(name.startswith("CorridorContinuous")) for _ in range(num_envs)]
        self.seed, self.limit, self.lengths = seed, max_episode_steps, [0] * num_envs
        self.action_space = self.envs[0].action_space
        FakePool.made.append(self)

    def reset(self):
        return np.stack([env.reset(seed=self.seed + i)[0] for i, env in enumerate(self.envs)]).astype(np.float64), {}

    def step(self, acs):
        results = []
        for i, (env, ac) in enumerate(zip(self.envs, acs, strict=True)):
            if self.lengths[i] < 0:  # it was over
                self.lengths[i] = 0
                results.append((env.reset(seed=99)[0], 0.0, False, False))
                continue
            ob, reward, terminated, _, _ = env.step(ac)
            self.lengths[i] += 1
            truncated = self.lengths[i] == self.limit
            results.append((ob, reward, terminated, truncated))
            if terminated or truncated:
                self.lengths[i] = -1
        obs, rewards, terminated, truncated = map(np.array, zip(*results, strict=True))
        return obs.astype(np.float64), rewards.astype(np.float32), terminated, truncated, {}

    def close(self):
        self.envs = []


@pytest.fixture
def pool(monkeypatch):
    names = ["Corridor-v0", "CorridorContinuous-v0"]
    monkeypatch.setitem(sys.modules, "envpool", SimpleNamespace(make=FakePool, list_all_envs=lambda: names))
    monkeypatch.setattr(FakePool, "made", [])


def test_episodes_by_hand(pool):
    episodes = LockstepEpisodes("Corridor-v0", make_env("Corridor-v0"))
    found = list(sample_n_trajectories(episodes, ConstantActor(2), 11, np.random.default_rng(0)))
    seeds = [next(episode_seeds(rng)) for rng in [np.random.default_rng(0)] for _ in range(11)]
    starts = [seeds[0] % 2**31 + i for i in range(8)] + [seeds[8] % 2**31 + i for i in range(3)]
    assert [made.seed for made in FakePool.made] == [starts[0], starts[8]]
    assert [len(trajectory) for trajectory in found] == [corridor_length(seed) for seed in starts]
    for trajectory in found:
        length = len(trajectory)
        assert trajectory.obs.dtype == np.float32
        np.testing.assert_array_equal(trajectory.obs, [[t, length] for t in range(length + 1)])
        assert trajectory.acs.tolist() == [2] * length
        assert trajectory.acs.dtype == np.int64
        assert trajectory.episode_return == 2 * length
        assert (trajectory.terminated, trajectory.truncated) == (True, False)
        assert trajectory.expert_acs is None


def test_a_time_limit_truncates(pool):
    episodes = LockstepEpisodes("Corridor-v0", make_env("Corridor-v0"))
    found = list(sample_n_trajectories(episodes, ConstantActor(1), 8, np.random.default_rng(0), 4))
    lengths = [corridor_length(FakePool.made[0].seed + i) for i in range(8)]
    assert [len(t) for t in found] == [min(length, 4) for length in lengths]
    assert [t.terminated for t in found] == [length <= 4 for length in lengths]
    assert [t.truncated for t in found] == [length > 4 for length in lengths]


def test_continuous_actions_are_clipped_and_the_expert_s_own_kept(pool):
    env = make_env("CorridorContinuous-v0")
    actor = ConstantActor(np.array([3, -1], np.float32))
    (found,) = begin_episodes(
        LockstepEpisodes("CorridorContinuous-v0", env), actor, np.random.default_rng(0), None, EXPERT, 1
    )
    assert found.acs.tolist() == [[1, -1]] * len(found)
    assert found.expert_acs.tolist() == [[3, -1]] * len(found)
    assert found.episode_return == len(found)


def test_episodes_repeat_for_a_seed(pool):
    env = make_env("Corridor-v0")

    def acs(seed):
        with rollout_source("Corridor-v0", env, 1, "envpool") as source:
            rollouts = sample_n_trajectories(source, RandomActor(env), 5, np.random.default_rng(seed))
            return [trajectory.acs.tolist() for trajectory in rollouts]

    assert acs(1) == acs(1)
    assert acs(1) != acs(2)


def test_dagger_in_lockstep(pool):
    trainer = build(n_iter=3)
    trainer.env = LockstepEpisodes("Corridor-v0", trainer.env)
    results = trainer.run_training_loop()
    assert [len(result.returns) for result in results] == [6, 6, 6]
    assert len(trainer.buffer) == trainer.expert_labels == 8 + trainer.env_steps
    assert trainer.env_steps >= 20


def test_what_it_cannot_do_is_said(pool, monkeypatch):
    env = make_env("Corridor-v0")
    with pytest.raises(InputError, match="envpool: it has no TimedCorridor-v0"):
        LockstepEpisodes("TimedCorridor-v0", env)
    driver = ConstantActor(1)
    driver.watch = lambda env: None
    with pytest.raises(InputError, match="reads Gymnasium's simulator"):
        next(begin_episodes(LockstepEpisodes("Corridor-v0", env), driver, np.random.default_rng(0)))
    with pytest.raises(InputError, match="drop --num_workers"):
        RunConfig(vec_env="envpool", num_workers=2)
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(InputError, match=r'pip install -e "\.\[envpool\]"'):
        LockstepEpisodes("Corridor-v0", env)


@pytest.mark.envpool
@pytest.mark.parametrize("name", ["LunarLander-v3", "HalfCheetah-v5", "Ant-v5", "MountainCar-v0"])
def test_experts_score_as_they_do_in_gymnasium(name):
    from rl_il.policies.experts import load_expert

    env = make_env(name)
    expert, n = load_expert(None, env), 24
    scores = [
        np.array([t.episode_return for t in sample_n_trajectories(place, expert, n, np.random.default_rng(0))])
        for place in (env, LockstepEpisodes(name, env))
    ]
    error = np.hypot(*(score.std() / np.sqrt(n) for score in scores))
    assert abs(scores[1].mean() - scores[0].mean()) < max(4 * error, 0.03 * abs(scores[0].mean()))

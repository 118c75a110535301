import os
import re
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from rl_il.config import RunConfig
from rl_il.datasets import load_trajectories
from rl_il.envs import ENVS, check_actions, env_row, episode_limit, is_discrete, make_env
from rl_il.errors import InputError
from rl_il.experts.loading import load_actor, load_expert
from rl_il.infrastructure.rollouts import sample_trajectory
from rl_il.runs.experiment import run

POINT = Box(-1, 1, (2,), np.float32)


@pytest.mark.parametrize("name", [name for name, spec in ENVS.items() if spec.demos])
def test_the_shipped_demonstrations_fit_their_environment(name, shared_env):
    env = shared_env(name)
    trajectories = load_trajectories(ENVS[name].demos_path, env)
    returns = np.array([t.episode_return for t in trajectories])
    counts = {"LunarLander": 100, "MountainCar": 100, "CarRacing": 3}
    assert len(trajectories) >= next((n for task, n in counts.items() if name.startswith(task)), 10)
    assert np.isfinite(returns).all()
    assert all(t.terminated != t.truncated for t in trajectories)
    assert all(not np.array_equal(t.obs[-1], t.obs[-2]) for t in trajectories)
    assert trajectories[0].obs.dtype == env.observation_space.dtype
    assert trajectories[0].acs.dtype == env.action_space.dtype
    if name.startswith("LunarLander"):
        assert returns.min() > 200
    if not name.startswith("Humanoid"):  # its episodes are cut off after 170 steps
        steps = ENVS[name].expert_steps or episode_limit(env)
        assert np.mean([len(t) for t in trajectories]) == pytest.approx(steps, rel=0.1)


@pytest.mark.parametrize("name", [name for name, spec in ENVS.items() if spec.demos and not spec.picture_rows])
def test_the_demonstrated_actions_are_the_experts(name, shared_env):
    env = shared_env(name)
    first = load_trajectories(ENVS[name].demos_path, env)[0]
    np.testing.assert_allclose(load_expert(None, env).get_action(first.obs[:-1]), first.labels, atol=1e-4)


@pytest.mark.parametrize("name", [name for name, row in ENVS.items() if row.expert and row.demos])
def test_dagger_needs_only_the_name_of_a_shipped_environment(name, tmp_path):
    short = {"ep_len": 8, "batch_size": 8, "eval_episodes": 1, "num_agent_train_steps_per_iter": 2}
    config = RunConfig(
        env_name=name, do_dagger=True, n_iter=5, logdir=str(tmp_path / "run"), video_log_freq=-1, **short
    )
    result = run(config, verbose=False)
    assert len(result.results) == 5
    assert np.isfinite(result.summary["eval_return_mean"])


@pytest.mark.parametrize(
    "name, nearest",
    [("LunarLandr-v3", "LunarLander-v3"), ("LunarLander-v2", "LunarLander-v3"), ("cartpole-v1", "CartPole-v1")],
)
def test_the_error_for_an_unknown_environment_names_the_most_similar_ones(name, nearest):
    with pytest.raises(InputError, match=name) as error:
        make_env(name)
    assert re.split("[;, ]+", str(error.value)).count(nearest) == 1


def test_the_error_for_a_name_unlike_all_others_lists_the_table():
    with pytest.raises(InputError) as error:
        make_env("qqqqqqqqqqqq")
    for name in ENVS:
        assert name in str(error.value)


def test_the_error_for_a_missing_package_names_it():
    def needs_jax():
        raise ModuleNotFoundError("No module named 'jax'")

    with pytest.raises(InputError, match=r"HalfCheetah-v2.*gymnasium-robotics"):
        make_env("HalfCheetah-v2")
    gym.register("NeedsJax-v0", entry_point=needs_jax)
    try:
        with pytest.raises(InputError, match=r"NeedsJax-v0.*'jax'"):
            make_env("NeedsJax-v0")
    finally:
        del gym.registry["NeedsJax-v0"]


def test_the_error_for_push_t_without_its_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gym_pusht", None)  # importing it fails
    with pytest.raises(InputError, match=r"gym_pusht/PushT-v0 needs the package gym_pusht.*make pusht-env"):
        make_env("gym_pusht/PushT-v0")


@pytest.mark.pusht
def test_push_t_is_made_by_its_name():
    env = make_env("gym_pusht/PushT-v0")
    assert (env.observation_space.shape, env.action_space.shape, episode_limit(env)) == ((5,), (2,), 300)
    episode = sample_trajectory(env, load_actor("random", env), 0)
    assert env_row("gym_pusht/PushT-v0").score(episode) == episode.rewards.max()
    assert episode.success is False  # as its info says


@pytest.mark.parametrize("observation_space", [POINT, Box(0, 255, (4, 4, 3), np.uint8)])
@pytest.mark.parametrize(
    "action_space, discrete",
    [
        (Discrete(2), True),
        (Discrete(2, start=1), True),
        (MultiDiscrete([2, 2]), True),
        (Box(-2, 2, (3,), np.float32), False),
        (Box(-2, 2, (2, 3), np.float64), False),
    ],
)
def test_supported_spaces_are_accepted(register_env, observation_space, action_space, discrete):
    env = make_env(register_env(observation_space, action_space))
    assert is_discrete(env.action_space) is discrete


@pytest.mark.parametrize(
    "own, asked, limit", [(200, None, 200), (200, 50, 50), (200, 500, 200), (None, 50, 50), (None, None, None)]
)
def test_the_episode_limit_is_the_shorter_one(register_env, own, asked, limit):
    env = make_env(register_env(POINT, Discrete(2), own))
    assert episode_limit(env, asked) == limit


@pytest.mark.parametrize(
    ("display", "before", "egl", "after"),
    [
        (None, None, True, "egl"),
        (None, "osmesa", True, "osmesa"),
        (":0", None, True, None),
        (None, None, False, None),
    ],
)
def test_mujoco_renders_offscreen_without_a_display(monkeypatch, display, before, egl, after):
    monkeypatch.setattr("rl_il.envs.making._has_egl", lambda: egl)
    for name, value in (("DISPLAY", display), ("MUJOCO_GL", before)):
        monkeypatch.setenv(name, value or "")
        if value is None:
            monkeypatch.delenv(name)
    make_env("MountainCar-v0")
    assert os.environ.get("MUJOCO_GL") == after


@pytest.mark.parametrize(
    ("acs", "env_name", "expected"),
    [
        (np.array([0.0, 3.0], np.float32), "LunarLander-v3", np.array([0, 3])),
        (np.array([0, 3], np.uint8), "LunarLander-v3", np.array([0, 3])),
        (np.array([[0], [3]]), "LunarLander-v3", np.array([0, 3])),
        (np.array([[1.5, -7.0]]), "LunarLanderContinuous-v3", np.array([[1.5, -7]], np.float32)),  # not clipped
    ],
)
def test_labels_get_the_dtype_of_the_action_space(shared_env, acs, env_name, expected):
    checked = check_actions(acs, env_name, shared_env(env_name).action_space)
    np.testing.assert_array_equal(checked, expected)
    assert checked.dtype == expected.dtype


@pytest.mark.parametrize(
    ("acs", "own", "other"),
    [
        (np.array([[-1.25, 0.5], [0.75, 0.0]], np.float32), "LunarLander-v3", "LunarLanderContinuous-v3"),
        (np.array([0, 1]), "LunarLanderContinuous-v3", "LunarLander-v3"),
    ],
)
def test_labels_of_the_other_lander_get_a_hint(shared_env, acs, own, other):
    with pytest.raises(InputError) as error:
        check_actions(acs, own, shared_env(own).action_space)
    for named in (f"{own},", str(acs.dtype), str(acs.shape)):
        assert named in str(error.value)
    assert str(error.value).endswith(f" {other}")


@pytest.mark.parametrize("acs", [[0, 4], [-1, 0], [0.5, 1], [[0, 1], [1, 0]]])
def test_labels_that_are_not_actions_are_refused_with_their_range(acs):
    acs = np.array(acs)
    with pytest.raises(InputError) as error:
        check_actions(acs, "Other-v0", Discrete(4))
    for named in ("[0, 4)", "Other-v0", f"[{acs.min():g}, {acs.max():g}]"):
        assert named in str(error.value)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 3), (3, 2, 1)])
def test_labels_of_a_wrong_shape_are_refused_with_both_shapes(shape):
    with pytest.raises(InputError, match="Other-v0") as error:
        check_actions(np.zeros(shape), "Other-v0", Box(-1, 1, (2,)))
    assert "(N, 2)" in str(error.value) and str(shape) in str(error.value)


def test_a_name_can_begin_with_the_module_that_registers_it():
    assert make_env("fakes:TimedCorridor-v0").spec.max_episode_steps == 5
    with pytest.raises(InputError, match="nowhere:Corridor-v0"):
        make_env("nowhere:Corridor-v0")


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "Hopper-v4", "Walker2d-v5", "Ant-v4"])
def test_mujocos_camera_follows_the_body(name):
    env = make_env(name, render=True)
    env.reset(seed=0)
    body = env.unwrapped.model.camera("track").bodyid
    assert env.unwrapped.mujoco_renderer.camera_id == env.unwrapped.model.camera("track").id
    assert body.item() != 0  # 0 is the world
    env.close()


@pytest.mark.parametrize("env_name", [name for name, row in ENVS.items() if row.expert])
def test_an_episode_does_not_depend_on_those_before_it(env_name):
    """Otherwise it would depend on the number of worker processes."""
    used, fresh = make_env(env_name), make_env(env_name)
    expert, steps = load_expert(None, used), 40 if env_name == "CarRacing-v3" else 300
    sample_trajectory(used, expert, 1, steps)
    again, alone = (sample_trajectory(env, expert, 2, steps) for env in (used, fresh))
    np.testing.assert_array_equal(again.obs, alone.obs)
    np.testing.assert_array_equal(again.rewards, alone.rewards)


def test_bipedal_walkers_episodes_depend_only_on_their_seeds():
    """Gymnasium keeps the Box2D world: without a new one, some of these episodes differ."""
    used = make_env("BipedalWalker-v3")
    expert = load_expert(None, used)
    for seed in range(8):
        again, alone = (sample_trajectory(env, expert, seed) for env in (used, make_env("BipedalWalker-v3")))
        np.testing.assert_array_equal(again.obs, alone.obs)


def test_a_name_with_its_package_has_the_row_of_the_name():
    assert env_row("gymnasium:LunarLander-v3") is ENVS["LunarLander-v3"]

import os

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Tuple

from rl_il import envs
from rl_il.config import RunConfig
from rl_il.datasets import load_trajectories
from rl_il.envs import ENVS, check_actions, env_spec, episode_limit, is_discrete, make_env
from rl_il.errors import InputError
from rl_il.experiment import run
from rl_il.infrastructure.rollouts import sample_trajectory
from rl_il.policies.experts import load_expert
from rl_il.types import reads_simulator

POINT = Box(-1, 1, (2,), np.float32)


@pytest.mark.parametrize("name", ENVS)
def test_the_shipped_expert_acts_in_its_environment(name, shared_env):
    env = shared_env(name)
    expert = load_expert(None, env)
    ob = env.reset(seed=0)[0]
    if reads_simulator(expert):  # one state at a time
        expert.watch(env)
        assert env.action_space.contains(expert.get_action(ob))
        return
    ac, acs = expert.get_action(ob), expert.get_action(np.stack([ob, ob, ob]))
    if is_discrete(env.action_space):
        assert ac.shape == () and acs.shape == (3,)
        assert acs.dtype == ac.dtype == np.int64
        assert env.action_space.contains(ac)
    else:
        assert ac.shape == env.action_space.shape and acs.shape == (3, *ac.shape)
        assert acs.dtype == ac.dtype == np.float32
    np.testing.assert_allclose(acs, [ac] * 3, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name, spec in ENVS.items() if spec.demos])
def test_the_shipped_demonstrations_fit_their_environment(name, shared_env):
    env = shared_env(name)
    trajectories = load_trajectories(ENVS[name].demos_path, env)
    returns = np.array([t.episode_return for t in trajectories])
    least = {"LunarLander": 100, "MountainCar": 100, "CarRacing": 3}
    assert len(trajectories) >= next((n for task, n in least.items() if name.startswith(task)), 10)
    assert np.isfinite(returns).all()
    assert all(t.terminated != t.truncated for t in trajectories)
    assert all(not np.array_equal(t.obs[-1], t.obs[-2]) for t in trajectories)
    assert trajectories[0].obs.dtype == env.observation_space.dtype
    assert trajectories[0].acs.dtype == env.action_space.dtype
    if name.startswith("LunarLander"):
        assert returns.min() > 200
    if not name.startswith("Humanoid"):  # theirs are cut off
        steps = ENVS[name].expert_steps or episode_limit(env)
        assert np.mean([len(t) for t in trajectories]) == pytest.approx(steps, rel=0.1)


@pytest.mark.parametrize("name", [name for name, spec in ENVS.items() if spec.demos and not spec.picture_rows])
def test_the_demonstrated_actions_are_the_experts(name, shared_env):
    env = shared_env(name)
    first = load_trajectories(ENVS[name].demos_path, env)[0]
    np.testing.assert_allclose(load_expert(None, env).get_action(first.obs[:-1]), first.labels, atol=1e-4)


def test_every_environment_ships_expert_and_demonstrations():
    assert all(spec.expert and spec.demos for spec in ENVS.values())


@pytest.mark.parametrize("name", ENVS)
def test_dagger_runs_with_nothing_but_the_environments_name(name, tmp_path):
    short = {"ep_len": 8, "batch_size": 8, "eval_episodes": 1, "num_agent_train_steps_per_iter": 2}
    config = RunConfig(
        env_name=name, do_dagger=True, n_iter=5, logdir=str(tmp_path / "run"), video_log_freq=-1, **short
    )
    result = run(config, verbose=False)
    assert len(result.results) == 5
    assert np.isfinite(result.summary["eval_return_mean"])


@pytest.mark.parametrize(
    "name, nearest",
    [
        ("LunarLandr-v3", "LunarLander-v3"),
        ("LunarLander-v2", "LunarLander-v3"),
        ("HalfCheeta-v4", "HalfCheetah-v4"),
        ("cartpole-v1", "CartPole-v1"),
    ],
)
def test_an_unknown_environment_names_the_nearest_ones(name, nearest):
    with pytest.raises(InputError) as error:
        make_env(name)
    assert f"unknown environment '{name}'; did you mean" in str(error.value)
    assert nearest in str(error.value)


def test_no_name_is_suggested_twice():
    with pytest.raises(InputError) as error:
        make_env("LunarLander-v2")
    names = str(error.value).rstrip("?").split("did you mean ")[1].split(" or ")
    assert len(names) == len(set(names))


def test_a_name_like_no_other_lists_the_table():
    with pytest.raises(InputError) as error:
        make_env("qqqqqqqqqqqq")
    for name in ENVS:
        assert name in str(error.value)


def test_a_registered_environment_without_a_row_works(shared_env):
    assert env_spec("CartPole-v1").expert_path is None
    assert env_spec("CartPole-v1").demos_path is None
    env = shared_env("CartPole-v1")
    with pytest.raises(InputError, match="no expert is shipped for CartPole-v1; give the file of one"):
        load_expert(None, env)


def test_an_environment_that_needs_another_package_says_so():
    def needs_jax():
        raise ModuleNotFoundError("No module named 'jax'")

    with pytest.raises(InputError, match=r"HalfCheetah-v2 cannot be made: .*gymnasium-robotics"):
        make_env("HalfCheetah-v2")
    gym.register("NeedsJax-v0", entry_point=needs_jax)
    try:
        with pytest.raises(InputError, match="NeedsJax-v0 cannot be made: No module named 'jax'"):
            make_env("NeedsJax-v0")
    finally:
        del gym.registry["NeedsJax-v0"]


@pytest.mark.parametrize(
    "observation_space, action_space",
    [
        (Dict({"camera": POINT}), Discrete(2)),
        (Tuple((POINT, POINT)), Discrete(2)),
        (Discrete(4), Discrete(2)),
        (POINT, MultiDiscrete([2, 2])),
        (POINT, Box(-1, 1, (2, 2), np.float32)),
        (POINT, Box(-1, 1, (), np.float32)),
        (POINT, Discrete(3, start=1)),
    ],
)
def test_spaces_that_no_policy_fits_are_refused(register_env, observation_space, action_space):
    name = register_env(observation_space, action_space)
    with pytest.raises(InputError) as error:
        make_env(name)
    message = str(error.value)
    assert message.startswith(name)
    assert str(observation_space) in message and str(action_space) in message
    assert "needed are a Box of observations" in message


def test_a_refusal_is_one_line(register_env):
    wide = Box(np.arange(40, dtype=np.float32), np.full(40, 99, np.float32))
    with pytest.raises(InputError) as error:
        make_env(register_env(wide, MultiDiscrete([2, 2])))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("observation_space", [POINT, Box(0, 255, (4, 4, 3), np.uint8)])
@pytest.mark.parametrize("action_space, discrete", [(Discrete(2), True), (Box(-2, 2, (3,), np.float32), False)])
def test_spaces_that_fit_are_made(register_env, observation_space, action_space, discrete):
    env = make_env(register_env(observation_space, action_space))
    assert is_discrete(env.action_space) is discrete


@pytest.mark.parametrize("own, asked, limit", [(200, None, 200), (200, 50, 50), (200, 500, 200), (None, 50, 50)])
def test_the_episode_limit_is_the_shorter_one(register_env, own, asked, limit):
    env = make_env(register_env(POINT, Discrete(2), own))
    assert episode_limit(env, asked) == limit


def test_an_environment_may_have_no_episode_limit(register_env):
    assert episode_limit(make_env(register_env(POINT, Discrete(2)))) is None


def test_frames_are_drawn_without_a_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    env = make_env("LunarLander-v3", render=True)
    env.reset(seed=0)
    frame = env.render()
    env.close()
    assert frame.ndim == 3 and frame.shape[2] == 3
    assert frame.dtype == np.uint8


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
    monkeypatch.setattr(envs, "_has_egl", lambda: egl)
    for name, value in (("DISPLAY", display), ("MUJOCO_GL", before)):
        monkeypatch.setenv(name, value or "")
        if value is None:
            monkeypatch.delenv(name)
    make_env("MountainCar-v0")
    assert os.environ.get("MUJOCO_GL") == after


def test_discrete_labels_become_int64(shared_env):
    space = shared_env("LunarLander-v3").action_space
    for acs in (np.array([0.0, 3.0], np.float32), np.array([0, 3], np.uint8), np.array([[0], [3]])):
        checked = check_actions(acs, "LunarLander-v3", space)
        assert checked.tolist() == [0, 3]
        assert checked.dtype == np.int64


def test_continuous_labels_become_float32_and_are_not_clipped(shared_env):
    space = shared_env("LunarLanderContinuous-v3").action_space
    checked = check_actions(np.array([[1.5, -7.0]]), "LunarLanderContinuous-v3", space)
    assert checked.tolist() == [[1.5, -7.0]]
    assert checked.dtype == np.float32


def test_the_landers_taken_for_each_other_are_named(shared_env):
    acs = np.array([[-1.25, 0.5], [0.75, 0.0]], np.float32)
    with pytest.raises(InputError) as error:
        check_actions(acs, "LunarLander-v3", shared_env("LunarLander-v3").action_space)
    assert str(error.value) == (
        "actions must be integers in [0, 4) for LunarLander-v3, got float32 of shape (2, 2) in [-1.25, 0.75];"
        " was it recorded on LunarLanderContinuous-v3?"
    )
    with pytest.raises(InputError) as error:
        check_actions(
            np.array([0, 1]),
            "LunarLanderContinuous-v3",
            shared_env("LunarLanderContinuous-v3").action_space,
        )
    assert str(error.value) == (
        "actions must have the shape (N, 2) for LunarLanderContinuous-v3, got int64 of shape (2,);"
        " was it recorded on LunarLander-v3?"
    )


@pytest.mark.parametrize("acs", [[0, 4], [-1, 0], [0.5, 1], [[0, 1], [1, 0]]])
def test_labels_outside_the_integers_are_refused_with_their_range(acs):
    acs = np.array(acs)
    with pytest.raises(InputError) as error:
        check_actions(acs, "Other-v0", Discrete(4))
    assert "integers in [0, 4) for Other-v0" in str(error.value)
    assert f"in [{acs.min():g}, {acs.max():g}]" in str(error.value)
    assert "recorded" not in str(error.value)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 3), (3, 2, 1)])
def test_labels_of_another_width_are_refused_with_both_shapes(shape):
    with pytest.raises(InputError) as error:
        check_actions(np.zeros(shape), "Other-v0", Box(-1, 1, (2,)))
    assert "(N, 2) for Other-v0" in str(error.value)
    assert str(shape) in str(error.value)


def test_rows_name_registered_environments():
    assert set(ENVS) <= set(gym.registry)


def test_a_name_may_say_which_module_registers_it():
    assert make_env("fakes:TimedCorridor-v0").spec.max_episode_steps == 5
    with pytest.raises(InputError, match="nowhere:Corridor-v0: the package nowhere cannot be imported"):
        make_env("nowhere:Corridor-v0")


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "Hopper-v4", "Walker2d-v5", "Ant-v4"])
def test_mujocos_camera_follows_the_body(name):
    env = make_env(name, render=True)
    env.reset(seed=0)
    body = env.unwrapped.model.camera("track").bodyid
    assert env.unwrapped.mujoco_renderer.camera_id == env.unwrapped.model.camera("track").id
    assert body.item() != 0  # 0 is the world
    env.close()


@pytest.mark.parametrize("env_name", ENVS)
def test_an_episode_does_not_depend_on_those_before_it(env_name):
    """So that it is the same in whatever process it is rolled out."""
    used, fresh = make_env(env_name), make_env(env_name)
    expert, steps = load_expert(None, used), 40 if env_name == "CarRacing-v3" else 300
    sample_trajectory(used, expert, 1, steps)
    again, alone = (sample_trajectory(env, expert, 2, steps) for env in (used, fresh))
    np.testing.assert_array_equal(again.obs, alone.obs)
    np.testing.assert_array_equal(again.rewards, alone.rewards)


def test_bipedal_walker_s_whole_episodes_follow_from_their_seeds():
    """Gymnasium's own world remembers: without a new one, some of these differ."""
    used = make_env("BipedalWalker-v3")
    expert = load_expert(None, used)
    for seed in range(8):
        again, alone = (sample_trajectory(env, expert, seed) for env in (used, make_env("BipedalWalker-v3")))
        np.testing.assert_array_equal(again.obs, alone.obs)

"""Environments that misbehave, or whose interface is not Gymnasium's, are refused in one sentence that names them."""

import os
import signal
import sys
from contextlib import closing

import gymnasium as gym
import numpy as np
import pytest
from fakes import ConstantActor, Corridor, first_seeds

from rl_il.envs import make_env, make_recipe, prepare_env
from rl_il.errors import InputError
from rl_il.infrastructure.dagger import Decision, ExpertTeacher, Rule
from rl_il.infrastructure.rollouts import sample_n_trajectories, sample_trajectory
from rl_il.infrastructure.workers import RolloutWorkers, rollout_source


class Unlike(BaseException):
    """An error that is no `Exception`."""


def give_up(error=None):
    raise error or KeyError("left wheel")


def interrupt():
    raise KeyboardInterrupt


STEP = (0, 1.0, False, False, {})
FAULTS = {  # what the third step does or returns, and words of the message
    "exit": (lambda ob: sys.exit(0), "SystemExit: 0 test_interfaces.py"),
    "error": (lambda ob: give_up(), "KeyError 'left wheel' test_interfaces.py"),
    "interrupt": (lambda ob: interrupt(), "KeyboardInterrupt test_interfaces.py"),
    "generator": (lambda ob: give_up(GeneratorExit()), "GeneratorExit test_interfaces.py"),
    "own class": (lambda ob: give_up(Unlike()), "Unlike test_interfaces.py"),
    "no module": (lambda ob: give_up(ImportError("wheels")), "ImportError wheels test_interfaces.py, line"),
    "four values": (lambda ob: (ob, 1.0, False, {}), "ValueError terminated, truncated"),
    "no tuple": (lambda ob: None, "TypeError terminated, truncated"),
    "other shape": (lambda ob: (np.zeros(3, np.float32), *STEP[1:]), "observation (3,) (2,) float32"),
    "one number": (lambda ob: (0.5, *STEP[1:]), "observation 0.5 float (2,)"),
    "text": (lambda ob: ("left", *STEP[1:]), "observation 'left' str (2,)"),
    "no observation": (lambda ob: (None, *STEP[1:]), "observation None (2,)"),
    "parts": (lambda ob: ({"x": ob}, *STEP[1:]), "observation dict (2,)"),
    "ragged": (lambda ob: ([[0], [1, 2]], *STEP[1:]), "observation [[0], [1, 2]] list (2,) float32"),
    "huge number": (lambda ob: ([10**400, 0], *STEP[1:]), "observation list (2,) float32"),
    "texts": (lambda ob: (np.array(["a", "b"]), *STEP[1:]), "observation <U1 float32"),
    "nan": (lambda ob: (ob * np.nan, *STEP[1:]), "observation NaN finite"),
    "infinity": (lambda ob: (np.full(2, 1e300), *STEP[1:]), "observation infinity finite"),
    "no reward": (lambda ob: (ob, None, *STEP[2:]), "reward None float"),
    "two rewards": (lambda ob: (ob, np.zeros(2), *STEP[2:]), "reward array (2,) float"),
    "reward of text": (lambda ob: (ob, "1.0", *STEP[2:]), "reward '1.0' str float"),
    "reward of nan": (lambda ob: (ob, float("nan"), *STEP[2:]), "reward nan finite"),
    "infinite reward": (lambda ob: (ob, float("-inf"), *STEP[2:]), "reward -inf finite"),
    "huge reward": (lambda ob: (ob, 10**400, *STEP[2:]), "reward 1000 int float"),
    "huger reward": (lambda ob: (ob, 10**5000, *STEP[2:]), "reward int float"),
    "ragged reward": (lambda ob: (ob, [[0], [1, 2]], *STEP[2:]), "reward list float"),
    "no end": (lambda ob: (ob, 1.0, None, False, {}), "terminated None bool"),
    "two ends": (lambda ob: (ob, 1.0, False, np.zeros(2, bool), {}), "truncated array bool"),
    "another number": (lambda ob: (ob, 1.0, 2, False, {}), "terminated 2 bool"),
    "no info": (lambda ob: (ob, 1.0, False, False, None), "info None dictionary"),
}


class Faulty(Corridor):
    """A corridor whose reset, step, constructor or close misbehaves. A step does so as a row of `FAULTS` says."""

    def __init__(self, fault: str = "none", place: str = "step", render_mode: str | None = None):
        super().__init__(endless=True, render_mode=render_mode)
        self.fault, self.place = fault, place
        self.fail("constructor")

    def fail(self, place: str):
        return FAULTS[self.fault][0](self._observe()) if place == self.place else None

    def reset(self, *, seed=None, options=None):
        ob, info = super().reset(seed=seed)
        returned = self.fail("reset")
        return (returned[0], info) if returned else (ob, info)

    def step(self, action):
        ob, reward, terminated, truncated, info = super().step(action)
        if self.steps == 3 and self.place == "step":
            return self.fail("step")
        return ob, reward, terminated, truncated, info

    def close(self):
        self.fail("close")

    def _observe(self):
        return super()._observe() if hasattr(self, "steps") else np.zeros(2, np.float32)


gym.register("Faulty-v0", Faulty, max_episode_steps=9)


def faulty(fault: str, place: str = "step"):
    return make_env(make_recipe("Faulty-v0", f"fault='{fault}' place={place}"))


@pytest.fixture
def no_signal_raises(monkeypatch):
    """Let the process handle Ctrl-C as all commands and workers do, so that only code raises KeyboardInterrupt."""
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    yield
    signal.signal(signal.SIGINT, before)


def message_of(act) -> str:
    with pytest.raises(InputError) as error:
        act()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_step_does_wrong_is_one_sentence(fault, no_signal_raises):
    message = message_of(lambda: sample_trajectory(faulty(fault), ConstantActor(1), seed=5))
    for word in ["Faulty-v0, step 3 of the episode from seed 5", *FAULTS[fault][1].split()]:
        assert word in message, message


@pytest.mark.parametrize(
    "fault", ["exit", "generator", "interrupt", "ragged", "other shape", "one number", "no observation", "nan"]
)
def test_what_a_reset_does_wrong_is_one_sentence(fault, no_signal_raises):
    message = message_of(lambda: sample_trajectory(faulty(fault, "reset"), ConstantActor(1), seed=5))
    for word in ["Faulty-v0, reset(seed=5)", *FAULTS[fault][1].split()]:
        assert word in message, message


@pytest.mark.parametrize("fault", ["exit", "interrupt", "error", "generator", "no module"])
def test_what_a_constructor_does_wrong_is_one_sentence(fault, no_signal_raises):
    message = message_of(lambda: faulty(fault, "constructor"))
    expected = ["Faulty-v0", "Gymnasium", "render_mode", "observation_space", *FAULTS[fault][1].split()]
    assert all(word in message for word in expected), message


@pytest.mark.parametrize("fault", ["exit", "generator", "error", "no reward", "huge reward", "ragged", "nan"])
def test_workers_say_the_same(fault):
    def roll_out(source):
        return list(sample_n_trajectories(source, ConstantActor(1), 2, np.random.default_rng(0)))

    alone = message_of(lambda: roll_out(faulty(fault)))
    assert f"seed {first_seeds(0, 1)[0]}" in alone
    with closing(RolloutWorkers(make_recipe("test_interfaces:Faulty-v0", f"fault='{fault}'"), 2)) as workers:
        assert message_of(lambda: roll_out(workers)) == alone.replace("Faulty-v0", "test_interfaces:Faulty-v0")


def test_ctrl_c_in_a_step_stays_ctrl_c(monkeypatch):
    monkeypatch.setattr(Corridor, "step", lambda self, action: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        sample_trajectory(make_env("Corridor-v0"), ConstantActor(1), seed=5)


@pytest.mark.parametrize("fault", ["exit", "error"])
def test_an_environment_that_cannot_be_closed_gives_a_note(fault, capsys):
    with rollout_source(faulty(fault, "close"), 1) as env:
        assert len(sample_trajectory(env, ConstantActor(1), seed=5)) == 9
    err = capsys.readouterr().err
    assert err.startswith("note: Faulty-v0") and err.count("\n") == 1 and FAULTS[fault][1].split()[0] in err


class Unusual(Corridor):
    """Returns what Gymnasium's environments do not, but what has one meaning."""

    def step(self, action):
        ob, reward, _, truncated, info = super().step(action)
        rewards = (reward, np.float32(reward), np.array(reward), np.array([reward]), np.int64(reward), True)
        flags = (0, np.bool_(False), np.int8(0), False, 0, truncated)
        return ob.tolist(), rewards[self.steps], flags[self.steps], int(self.steps == 5), info


def test_numbers_and_flags_of_other_types_have_their_values():
    trajectory = sample_trajectory(Unusual(), ConstantActor(2), seed=7, max_path_length=9)
    np.testing.assert_array_equal(trajectory.rewards, [2, 2, 2, 2, 1])
    np.testing.assert_array_equal(trajectory.obs, [[t, 6] for t in range(6)])
    assert (trajectory.terminated, trajectory.truncated, trajectory.obs.dtype) == (False, True, np.float32)


@pytest.mark.parametrize(("ob", "fits"), [(7.0, True), (7, True), (7.5, False), (-1, False), (256, False)])
def test_a_picture_of_another_dtype_fits_if_bytes_can_hold_it(ob, fits):
    class Pictures(Corridor):
        def _observe(self):
            return np.full((2, 2), ob)

    env = Pictures()
    env.observation_space = gym.spaces.Box(0, 255, (2, 2), np.uint8)
    roll_out = lambda: sample_trajectory(env, ConstantActor(1, (2, 2)), seed=0, max_path_length=9)  # noqa: E731
    if fits:
        assert (roll_out().obs == 7).all() and roll_out().obs.dtype == np.uint8
    else:
        assert all(word in message_of(roll_out) for word in ("reset", "uint8", str(np.array(ob).dtype)))


# The code of actors and rules ------------------------------------------------------------------------------


class Failing(Rule):
    """A rule that raises an error in one of its methods, or returns something else than a decision."""

    def __init__(self, where: str, error: BaseException | None = None):
        self.where, self.error = where, error

    def begin_episode(self, seed):
        if self.where == "begin_episode":
            raise self.error

    def decide(self, ob, own, teacher):
        if self.where == "decide" and ob[0] == 1:
            raise self.error
        return {"nothing": None, "text": Decision("left", 0)}.get(self.where, Decision(own, 0))


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(0)])
@pytest.mark.parametrize(("where", "step"), [("begin_episode", 1), ("decide", 2)])
def test_what_a_rule_raises_names_its_line_and_the_step(where, step, error):
    def act():
        rule = Failing(where, error)
        sample_trajectory(make_env("Corridor-v0"), ConstantActor(1), 5, rule=rule, teacher=TEACHER)

    message = message_of(act)
    for word in ("Corridor-v0", f"step {step}", "seed 5", type(error).__name__, "test_interfaces.py, line"):
        assert word in message


TEACHER = ExpertTeacher(ConstantActor(1))


@pytest.mark.parametrize(("where", "words"), [("nothing", "Failing.decide None"), ("text", "action 'left' Discrete")])
def test_a_rule_that_decides_nothing_is_refused(where, words):
    message = message_of(
        lambda: sample_trajectory(make_env("Corridor-v0"), ConstantActor(1), 5, rule=Failing(where), teacher=TEACHER)
    )
    assert all(word in message for word in words.split()), message


def test_an_actor_that_fails_at_nan_is_not_the_cause():
    class Exact(ConstantActor):
        def get_action(self, obs):
            assert np.isfinite(obs).all()
            return super().get_action(obs)

    message = message_of(lambda: sample_trajectory(faulty("nan"), Exact(1), seed=5))
    assert "step 3" in message and "observation" in message


def test_the_death_of_a_worker_names_the_seed(capfd):
    with closing(RolloutWorkers(make_recipe("test_interfaces:Deadly-v0"), 1)) as workers:
        message = message_of(
            lambda: list(sample_n_trajectories(workers, ConstantActor(1), 1, np.random.default_rng(0)))
        )
    assert all(word in message for word in ("Deadly-v0", "3 times", str(first_seeds(0, 1)[0]), "os._exit"))


class Deadly(Corridor):
    """A corridor that ends its process."""

    def step(self, action):
        os._exit(0)


gym.register("Deadly-v0", Deadly, max_episode_steps=9)


# Other interfaces ------------------------------------------------------------------------------------------


class WithoutSeed(Corridor):
    def reset(self):
        return super().reset(seed=0)


class OnlyObservation(Corridor):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class FourValues(Corridor):
    """The interface of the package gym before version 0.26."""

    def step(self, action):
        ob, reward, terminated, _, info = super().step(action)
        return ob, reward, terminated, info


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (WithoutSeed, ["reset", "TypeError", "Gymnasium", "seed"]),
        (OnlyObservation, ["reset", "Gymnasium", "(observation, info)"]),
        (FourValues, ["step 1", "seed 5", "terminated, truncated"]),
    ],
)
def test_another_interface_is_refused(env, words):
    with pytest.raises(InputError) as error:
        sample_trajectory(prepare_env(env()), ConstantActor(1), seed=5, max_path_length=9)
    assert all(word in str(error.value) for word in [env.__name__, *words]), error.value
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("attribute", ["observation_space", "action_space"])
def test_a_space_that_is_none_is_refused(attribute):
    env = Corridor()
    setattr(env, attribute, 2)
    with pytest.raises(InputError, match=rf"Corridor.*{attribute}.*int"):
        prepare_env(env)


def test_a_scalar_observation_in_a_scalar_space_is_a_vector():
    class Scalar(Corridor):
        def __init__(self):
            super().__init__()
            self.observation_space = gym.spaces.Box(0, np.inf, (), np.float32)

        def _observe(self):
            return np.float32(self.steps)

    trajectory = sample_trajectory(prepare_env(Scalar()), ConstantActor(1, (1,)), seed=0, max_path_length=9)
    np.testing.assert_array_equal(trajectory.obs, [[0], [1], [2], [3]])

"""Runs in environments, and with experts, policies and rules, that a program gives as objects."""

import json
import sys
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from fakes import Corridor
from gymnasium.wrappers import TimeLimit
from small_runs import Stopped, assert_same_run, corridor, data_of, rows_of, run_in, weights_of

from rl_il.config import RunConfig
from rl_il.envs import make_env, recipe_of
from rl_il.errors import InputError, Interrupted
from rl_il.infrastructure.dagger import Rule
from rl_il.infrastructure.rollouts import begin_episodes
from rl_il.infrastructure.workers import RolloutWorkers, rollout_source, to_bytes
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.runs.evaluate import evaluate
from rl_il.runs.experiment import resume, run
from rl_il.runs.folders import read_config
from rl_il.runs.given import Given


class FirstStep(Rule):
    """Label the first state of each episode."""

    def select(self, trajectories, budget, rng):
        return [np.arange(len(trajectory)) == 0 for trajectory in trajectories]


class Endless(gym.Wrapper):
    """A wrapper that does not record its arguments."""


def second(ob):
    """Return 0 in an episode's first two steps and 2 after them, as the expert of `corridor` does."""
    return 0 if ob[0] < 2 else 2


def start(config, folder, **given):
    return run(replace(config, logdir=str(folder)), verbose=False, **given)


def test_everything_given_gives_the_result_of_everything_named(tmp_path):
    config = corridor(tmp_path / "files")
    run_in(tmp_path / "named", config)
    given = {"env": gym.make("Corridor-v0"), "expert": second}
    start(replace(config, expert_policy_file=None), tmp_path / "given", **given)
    for content in (rows_of, weights_of, data_of):
        assert content(tmp_path / "named") == content(tmp_path / "given")


def test_a_given_rule_chooses_the_labels(tmp_path):
    result = start(corridor(tmp_path / "files"), tmp_path / "run", rule=FirstStep())
    collected = np.load(tmp_path / "run" / "data" / "itr_1.npz")
    assert result.summary["expert_labels"] < result.summary["env_steps"]
    assert "FirstStep" in read_config(tmp_path / "run").rule
    assert collected["labelled"].sum() == collected["dones"].sum() if "dones" in collected else True


def test_a_given_policy_is_trained_and_its_settings_are_recorded(tmp_path):
    settings = {"n_layers": 1, "size": 5, "learning_rate": 0.02, "layer_norm": True}
    policy = MLPPolicySL.for_env(make_env("Corridor-v0"), **settings, seed=3)
    before = policy.head.network[0].weight.clone()
    start(corridor(tmp_path / "files", dropout=0.5), tmp_path / "run", policy=policy)
    assert not (policy.head.network[0].weight == before).all()
    config = read_config(tmp_path / "run")
    assert {name: getattr(config, name) for name in settings} == settings
    assert (config.seed, config.dropout) == (1, 0)


def test_an_environment_with_arguments_is_recorded_and_found_again(tmp_path):
    """By its name alone, it would be evaluated in the ordinary environment, without a word."""
    config = corridor(tmp_path / "files", env_name="LunarLander-v3", expert_policy_file=None, expert_data=None)
    short = replace(config, ep_len=60, n_demos=1, do_dagger=False, n_iter=1)
    env = gym.make("LunarLander-v3", gravity=-1.0)
    result = start(short, tmp_path / "run", env=env)
    assert read_config(tmp_path / "run").env_kwargs == "gravity=-1.0"
    again = evaluate(str(tmp_path / "run"), None, episodes=3, seed=1)
    assert again["mean"] == pytest.approx(result.summary["eval_return_mean"])
    other = evaluate(str(tmp_path / "run"), None, episodes=3, seed=1, env_kwargs="gravity=-10.0")
    assert other["mean"] != pytest.approx(result.summary["eval_return_mean"])


def test_worker_processes_play_with_the_gravity_of_the_environment():
    """The number of workers must not change a return. With ordinary gravity, the returns would differ."""
    env = gym.make("LunarLander-v3", gravity=-1.0)
    returns = {}
    for workers in (1, 2):
        with rollout_source(make_env(recipe_of(env)), workers) as source:
            episodes = begin_episodes(source, ConstantTwo(), np.random.default_rng(0), 80, n=4)
            returns[workers] = [episode.episode_return for episode in episodes]
    assert returns[1] == returns[2]
    with rollout_source(make_env("LunarLander-v3"), 1) as source:
        episodes = begin_episodes(source, ConstantTwo(), np.random.default_rng(0), 80, n=4)
        assert [episode.episode_return for episode in episodes] != returns[1]


class ConstantTwo:
    """An actor that always fires the main engine."""

    answers_recorded = True

    def watch(self, env):
        pass

    def reset(self, seed):
        pass

    def get_action(self, obs):
        return np.int64(2)


def test_a_run_that_a_program_started_is_continued_by_it(tmp_path, monkeypatch):
    config = corridor(tmp_path / "files")
    given = {"env": Endless(gym.make("Corridor-v0")), "expert": second, "rule": FirstStep()}
    start(config, tmp_path / "whole", **given)
    with monkeypatch.context() as patch, pytest.raises(Interrupted, match=r"resume\(.*env="):
        patch.setattr("rl_il.runs.training.noted_signals", Stopped(2))
        start(config, tmp_path / "stopped", **given)
    with pytest.raises(InputError, match=r"env=.*rule=") as error:
        resume(tmp_path / "stopped", verbose=False)
    assert "expert=" not in str(error.value)  # another process can import it
    resume(tmp_path / "stopped", verbose=False, **given)
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_commands_refuse_an_environment_that_they_cannot_make(tmp_path):
    start(corridor(tmp_path / "files", ep_len=50), tmp_path / "run", env=Corridor())
    with pytest.raises(InputError, match="Corridor"):
        evaluate(str(tmp_path / "run"), None, episodes=1)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"env": lambda: TimeLimit(Corridor(), 50)}, ["Corridor", "gymnasium.make"]),
        ({"env": lambda: Endless(gym.make("Corridor-v0"))}, ["Endless", "RecordConstructorArgs"]),
        ({"expert": lambda: lambda ob: 0}, ["expert"]),
    ],
)
def test_workers_for_what_cannot_be_sent_are_refused_before_a_folder_is_made(tmp_path, given, words):
    config = corridor(tmp_path / "files", num_workers=2)
    with pytest.raises(InputError) as error:
        start(config, tmp_path / "run", **{name: make() for name, make in given.items()})
    assert all(word in str(error.value) for word in words), error.value
    assert not (tmp_path / "run").exists()


def test_a_class_of_a_notebook_is_refused_with_workers_only(tmp_path, monkeypatch):
    config = corridor(tmp_path / "files", num_workers=2)
    monkeypatch.setattr(FirstStep, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "FirstStep", FirstStep, raising=False)
    with pytest.raises(InputError, match="FirstStep"):
        start(config, tmp_path / "run", rule=FirstStep())
    assert not (tmp_path / "run").exists()
    assert start(replace(config, num_workers=1), tmp_path / "run", rule=FirstStep()).summary["status"] == "finished"


def test_an_environment_of_a_notebook_is_refused_by_workers(monkeypatch):
    monkeypatch.setattr(Corridor, "__module__", "__main__")
    with pytest.raises(InputError, match="Corridor"):
        RolloutWorkers(recipe_of(gym.make("Corridor-v0")), 2)


def test_the_record_names_what_was_given(tmp_path):
    start(corridor(tmp_path / "files"), tmp_path / "run", expert=second)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["expert_policy_file"].endswith(
        ":second"
    )


class Threshold(Rule):
    def __init__(self, limit):
        self.limit, self._private = limit, object()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"rule": Threshold(1)}, {"rule": Threshold(2)}),
        ({"expert": lambda ob: 0}, {"expert": lambda ob: 1}),
        ({"rule": Threshold(np.zeros(2))}, {"rule": Threshold(np.ones(2))}),
    ],
)
def test_other_objects_are_not_taken_for_seeds_of_one_setting(one, other):
    names = [Given(**each).name_in(RunConfig()) for each in (one, one, other)]
    assert names[0] == names[1] != names[2]


class Unpicklable(Rule):
    """A rule with an attribute that ends the process when it is pickled."""

    def __init__(self, value: int):
        self.value = Exiting(value)


class Exiting(list):
    def __init__(self, value: int):
        super().__init__([value])

    def __reduce_ex__(self, protocol):
        sys.exit(0)


def test_objects_whose_pickling_ends_the_process_are_named_and_refused_with_workers():
    names = [Given(rule=Unpicklable(value)).name_in(RunConfig()).rule for value in (1, 1, 2)]
    assert names[0] == names[1] != names[2]
    with pytest.raises(InputError, match=r"the rule.*--num_workers 1"):
        to_bytes(Unpicklable(1), "the rule")


def test_closures_over_other_values_have_other_names():
    def constant(action):
        return lambda ob: action

    names = [Given(expert=constant(action)).name_in(RunConfig()).expert_policy_file for action in (1, 1, 2)]
    assert names[0] == names[1] != names[2]


def test_a_run_is_not_continued_with_other_objects(tmp_path, monkeypatch):
    config = corridor(tmp_path / "files")
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr("rl_il.runs.training.noted_signals", Stopped(2))
        start(config, tmp_path / "run")
    for given in ({"env": gym.make("EndlessCorridor-v0")}, {"expert": second}, {"rule": FirstStep()}):
        with pytest.raises(InputError, match=r"Corridor-v0|expert_policy_file|rule"):
            resume(tmp_path / "run", verbose=False, **given)


def test_the_given_environment_stays_open(tmp_path, monkeypatch):
    env, closed = gym.make("Corridor-v0"), []
    monkeypatch.setattr(Corridor, "close", lambda self: closed.append(self))
    start(corridor(tmp_path / "files"), tmp_path / "run", env=env)
    assert env.unwrapped not in closed


@pytest.mark.parametrize("given", [{"env": "Corridor-v0"}, {"env": Corridor}, {"rule": FirstStep}, {"policy": 3}])
def test_what_is_not_an_object_of_the_kind_is_refused(tmp_path, given):
    with pytest.raises(InputError, match=next(iter(given))):
        start(corridor(tmp_path / "files"), tmp_path / "run", **given)


def test_arguments_of_another_environment_are_refused(tmp_path):
    config = corridor(tmp_path / "files", env_kwargs="endless=True")
    with pytest.raises(InputError, match="env_kwargs"):
        start(config, tmp_path / "run", env=gym.make("Corridor-v0"))


class Keeping(FirstStep):
    def state_dict(self):
        return {"rule": self}


def test_a_state_that_could_not_be_read_again_is_refused_at_once(tmp_path):
    with pytest.raises(InputError, match=r"Keeping\.state_dict"):
        start(corridor(tmp_path / "files"), tmp_path / "run", rule=Keeping())


def test_modules_of_the_working_folder_reach_workers_that_started_before(own_folder):
    """The network is imported after the processes have started."""
    folder = own_folder(mine=NETWORK)
    config = corridor(folder / "files", num_workers=2, policy_class="mine:Own")
    assert start(config, folder / "run").summary["status"] == "finished"


NETWORK = """
from torch import nn
from rl_il.policies.mlp_policy import MLPPolicySL

class Own(MLPPolicySL):
    def build_network(self, features, outputs):
        return nn.Sequential(nn.Linear(features, 4), nn.LayerNorm(4), nn.Linear(4, outputs))
"""

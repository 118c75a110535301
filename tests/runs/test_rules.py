"""A new rule is one class and one row of the table: a whole run with one, worked out by hand."""

import itertools

import numpy as np
import pytest
from small_runs import assert_same_run, corridor, rows_of, run_in, stop_after, weights_of

from rl_il import plugins
from rl_il.config import RunConfig
from rl_il.datasets import load_trajectories
from rl_il.envs import ENVS, EnvRow, make_env
from rl_il.errors import InputError
from rl_il.experts.car_driver import CarDriver
from rl_il.infrastructure.dagger import Decision, Rule
from rl_il.infrastructure.rollouts import sample_trajectory
from rl_il.infrastructure.rules.takeover import HGDAgger
from rl_il.infrastructure.rules.thrifty import ThriftyDAgger
from rl_il.policies.policy_file import load_policy
from rl_il.runs.experiment import resume, run
from rl_il.runs.parts import Inputs, find_rule
from rl_il.runs.training import build
from rl_il.seeding import episode_seeds, stream
from rl_il.types import EXPERT, LEARNER


class Relay(Rule):
    """A rule under which the expert acts after the learner.

    The learner does an episode's first steps, one more in each round. The expert does two more, and the episode ends.
    The states in which the expert acts get a label, and at random the learner's last state.
    """

    def __init__(self):
        self.rounds = self.step = 0

    def begin_round(self, snapshot, data, itr):
        assert snapshot.get_action(np.zeros(2, np.float32)) in range(3)
        assert len(data) >= 8
        self.rounds += 1

    def begin_episode(self, seed):
        self.step = 0

    def decide(self, ob, own, teacher):
        self.step += 1
        if self.step <= self.rounds:
            return Decision(own, LEARNER, may_label=self.step == self.rounds)
        return Decision(teacher.act(ob), teacher.source, end_episode=self.step == self.rounds + 2)

    def select(self, trajectories, budget, rng):
        return [(trajectory.source == EXPERT) | (rng.random() < 0.5) for trajectory in trajectories]

    def state_dict(self):
        return {"rounds": self.rounds}

    def load_state_dict(self, state):
        self.rounds = state["rounds"]


@pytest.fixture
def relay(tmp_path, monkeypatch):
    monkeypatch.setitem(plugins.RULES, "relay", "test_rules:Relay")
    settings = {"rule": "relay", "n_iter": 4, "num_agent_train_steps_per_iter": 6, "eval_interval": "3"}
    return corridor(tmp_path / "files", env_name="fakes:Corridor-v0", **settings)


def test_a_run_with_another_rule_by_hand(tmp_path, relay):
    result = run_in(tmp_path / "run", relay)
    labels, chosen, cut = 8, set(), 0
    for itr in (1, 2, 3):
        for t in load_trajectories(result.folder / f"data/itr_{itr}.npz"):
            length = int(t.obs[0, 1])
            steps = min(itr + 2, length)
            acting = np.arange(steps) >= itr
            assert len(t) == steps
            assert t.terminated == (length <= steps) and not t.truncated
            cut += not t.terminated
            np.testing.assert_array_equal(t.source, np.where(acting, EXPERT, LEARNER))
            np.testing.assert_array_equal(t.acs[acting], np.where(t.obs[:-1, 0] < 2, 0, 2)[acting])
            assert not t.labelled_steps[: itr - 1].any() and t.labelled_steps[acting].all()
            np.testing.assert_array_equal(
                t.labels[t.labelled_steps], np.where(t.obs[:-1, 0] < 2, 0, 2)[t.labelled_steps]
            )
            chosen.add(bool(t.labelled_steps[itr - 1]))
            labels += int(t.labelled_steps.sum())
    assert result.summary["expert_labels"] == labels
    assert chosen == {True, False} and cut > 0
    assert_same_run(run_in(tmp_path / "two", relay, num_workers=2).folder, result.folder)


@pytest.mark.parametrize("blocks", [3, 4])  # within an iteration, and between two
def test_the_state_of_a_rule_survives_a_stop(tmp_path, monkeypatch, relay, blocks):
    run_in(tmp_path / "whole", relay)
    stop_after(monkeypatch, tmp_path / "run", relay, blocks)
    resume(tmp_path / "run", verbose=False)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


# The variants of DAgger ----------------------------------------------------------------------------------

VARIANTS = {
    "random": {"labels_per_iter": 7},
    "kcentre": {"labels_per_iter": 7},
    "kcentre of features": {"labels_per_iter": 7, "rule_kwargs": "space=features"},
    "disagreement": {"labels_per_iter": 7, "ensemble": 2},
    "disagreement in proportion": {"labels_per_iter": 7, "ensemble": 2, "rule_kwargs": "spread=proportion"},
    "disagreement, far from each other": {"labels_per_iter": 7, "ensemble": 2, "rule_kwargs": "spread=kcentre"},
    "hg": {},
    "hg, of which some far ones": {"labels_per_iter": 2, "rule_kwargs": "choose=kcentre"},
    "safe": {"rule_kwargs": "threshold=0.5 release=0.1"},
    "ensemble_dagger": {"ensemble": 2},
    "thrifty": {"ensemble": 2, "labels_per_iter": 5},
    "dart": {},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_workers_and_a_stop_change_nothing(tmp_path, monkeypatch, name):
    settings = VARIANTS[name] | {"rule": name.split()[0].strip(","), "num_agent_train_steps_per_iter": 6}
    config = corridor(tmp_path / "files", env_name="fakes:Corridor-v0", eval_interval="3", **settings)
    whole = run_in(tmp_path / "whole", config)
    rows = rows_of(whole.folder)
    labels, consulted = ([float(row[f"Expert_{key}SoFar"]) for row in rows] for key in ("Labels", "Consulted"))
    assert labels[0] == consulted[0] == 8 and all(a <= b for a, b in zip(labels, consulted, strict=True))
    if "labels_per_iter" in settings and settings["rule"] not in ("thrifty", "hg"):
        assert labels[-1] == 8 + 2 * 7
    assert_same_run(run_in(tmp_path / "two", config, num_workers=2).folder, whole.folder)
    stop_after(monkeypatch, tmp_path / "stopped", config, 3)
    resume(tmp_path / "stopped", verbose=False)
    assert_same_run(tmp_path / "stopped", whole.folder)


@pytest.mark.parametrize("name", VARIANTS)
def test_an_expert_that_answers_only_in_the_episode_teaches_the_same(tmp_path, name):
    settings = VARIANTS[name] | {"rule": name.split()[0].strip(","), "env_name": "fakes:Corridor-v0"}
    runs = []
    for expert in ("StepModuloThree", "CorridorReader"):  # both answer with the number of steps so far, modulo 3
        config = corridor(tmp_path / "files", expert_policy_file=f"fakes:{expert}", **settings)
        runs.append(run_in(tmp_path / expert, config).folder)
    afterwards, live = map(rows_of, runs)
    assert weights_of(runs[0]) == weights_of(runs[1])
    assert [row["Expert_LabelsSoFar"] for row in live] == [row["Expert_LabelsSoFar"] for row in afterwards]
    assert float(live[-1]["Expert_ConsultedSoFar"]) >= float(afterwards[-1]["Expert_ConsultedSoFar"])


def test_a_run_ends_with_an_evaluation_when_its_labels_are_used_up(tmp_path, monkeypatch):
    limits = {
        "rule": "random",
        "labels_per_iter": 7,
        "max_labels": 20,
        "n_iter": 9,
        "scalar_log_freq": -1,
        "eval_interval": "10",
    }
    config = corridor(tmp_path / "files", env_name="fakes:Corridor-v0", **limits)
    result = run_in(tmp_path / "run", config)  # 8 in the demonstrations, 7, and the 5 that are left
    assert (result.summary["expert_labels"], result.summary["iterations"]) == (20, 3)
    rows = [row for row in rows_of(result.folder) if row.get("Eval_AverageReturn")]
    assert [(row["iteration"], row["gradient_steps"]) for row in rows] == [("2", "50"), ("2", "60")]
    assert result.summary["eval_episodes"] == 3 and result.summary["status"] == "finished"
    stop_after(monkeypatch, tmp_path / "stopped", config, 2)
    resume(tmp_path / "stopped", verbose=False)
    assert_same_run(tmp_path / "stopped", result.folder)
    with pytest.raises(InputError, match="max_labels"):
        run_in(tmp_path / "none", corridor(tmp_path / "files", do_dagger=True, n_iter=2, max_labels=8))
    assert not (tmp_path / "none").exists()


def test_thinned_demonstrations_keep_labels_evenly(tmp_path):
    config = corridor(tmp_path / "files", thin_demos=3, do_dagger=False, n_iter=1, normalize_obs=True)
    result = run_in(tmp_path / "run", config)
    assert result.summary["expert_labels"] == 3
    mean = load_policy(result.folder / "policy_itr_0.pt").encoder.ob_mean
    # of the 8 labelled states, 0, 4 (rounded from 3.5) and 7: [0, 3], [1, 5] and [4, 5]
    np.testing.assert_allclose(mean, [5 / 3, 13 / 3], rtol=1e-6)
    with pytest.raises(InputError, match="thin_demos"):
        run_in(tmp_path / "none", corridor(tmp_path / "files", thin_demos=9, do_dagger=False, n_iter=1))
    assert not (tmp_path / "none").exists()


def test_thrifty_learns_the_chance_of_success_from_all_episodes(tmp_path, monkeypatch):
    monkeypatch.setitem(ENVS, "Corridor-v0", EnvRow(success=lambda trajectory: len(trajectory) > 4))
    rule = ThriftyDAgger(rate=0.2)
    small = {"ensemble": 2, "num_agent_train_steps_per_iter": 6, "logdir": str(tmp_path / "run")}
    folder = run(corridor(tmp_path / "files", **small), verbose=False, rule=rule).folder
    rounds = [load_trajectories(folder / f"data/itr_{itr}.npz") for itr in (1, 2)]
    assert all({len(t) > 4 for t in each} == {True, False} for each in rounds)
    outcomes = [(len(t) > 4) * 0.99 ** (len(t) - 1 - i) for each in rounds for t in each for i in range(len(t))]
    np.testing.assert_allclose(rule._outcomes[:, 0], outcomes, rtol=1e-6)
    tried = [[*t.obs[i], t.acs[i]] for each in rounds for t in each for i in range(len(t))]
    np.testing.assert_array_equal(rule._tried, tried)
    n = sum(map(len, rounds[0]))  # in the second round, the network had learned from the first
    assert np.abs(rule._chances.get_action(rule._tried[:n])[:, 0] - outcomes[:n]).mean() < 0.1


# An expert that reads the simulator, and sees pictures ----------------------------------------------------

RACES = {  # the settings, how many of the twelve states are labelled, and who acts
    "dagger": ({}, 12, {LEARNER}),
    "random": ({"labels_per_iter": 4}, 4, {LEARNER}),
    "kcentre": ({"labels_per_iter": 4}, 4, {LEARNER}),
    "hg": ({}, 8, {LEARNER, EXPERT}),
    "hg, of which some far ones": ({"labels_per_iter": 4, "rule_kwargs": "choose=kcentre"}, 4, {LEARNER, EXPERT}),
    "dart": ({}, 12, {EXPERT}),
}


@pytest.fixture(scope="module")
def driven():
    """Return CarRacing, and a demonstration of twelve steps."""
    env = make_env("CarRacing-v3")
    yield env, sample_trajectory(env, CarDriver((96, 96, 3)), 1, 12, source=EXPERT)
    env.close()


def answers_of_the_driver(env, seed, acs):
    """Return what a driver says in each state of the episode with these actions."""
    driver = CarDriver((96, 96, 3))
    driver.watch(env)
    ob, _ = env.reset(seed=seed)
    driver.reset(seed)
    answers = []
    for action in acs:
        answers.append(driver.get_action(ob))
        ob, *_ = env.step(action)
    return np.array(answers)


@pytest.mark.parametrize("name", RACES)
def test_the_driver_of_carracing_teaches_with_each_rule(driven, monkeypatch, name):
    settings, n_labels, who = RACES[name]
    small = {"ep_len": 12, "batch_size": 12, "num_agent_train_steps_per_iter": 1, "size": 8, "train_batch_size": 2}
    run_of = {"rule": name.split(",")[0], "env_name": "CarRacing-v3", "do_dagger": True, "n_iter": 2}
    config = RunConfig(compile="off", **run_of, **small, **settings)
    gaps = itertools.cycle([0, 1, 1])  # the learner agrees at each third step
    monkeypatch.setattr(HGDAgger, "gap", lambda *_: next(gaps))
    env, demonstration = driven
    inputs = Inputs(env, env, CarDriver((96, 96, 3)), [demonstration], 1, 0.0, find_rule(config))
    trainer = build(config, inputs, verbose=False).trainer
    (episode,) = list(trainer.blocks())[-1].trajectories
    assert len(episode) == 12 and {*episode.source.tolist()} == who
    seed = next(episode_seeds(stream(config.seed, "collection", 1)))
    answers = answers_of_the_driver(env, seed, episode.acs)
    chosen = episode.labelled_steps
    np.testing.assert_array_equal(episode.labels[chosen], answers[chosen])
    assert chosen.sum() == n_labels and {*episode.source[chosen].tolist()} == {max(who)}  # the expert's if it acts
    assert trainer.counts[:3] == (12, 12 + n_labels, 24)  # consulted at every step

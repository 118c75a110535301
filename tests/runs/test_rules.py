"""A new rule is one class and one row of the table: a whole run with one, worked out by hand."""

import numpy as np
import pytest
from small_runs import assert_same_run, corridor, run_in, stop_after

from rl_il import plugins
from rl_il.datasets import load_trajectories
from rl_il.infrastructure.dagger import Decision, Rule
from rl_il.runs.experiment import resume
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

"""Runs whose environment, network, loss or rule is the user's and fails: one sentence, and how to go on."""

import sys

import numpy as np
import pytest
from fakes import Corridor
from small_runs import corridor, run_in
from torch import nn

from rl_il.errors import InputError
from rl_il.infrastructure.dagger import Rule
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.runs.experiment import resume


def end():
    sys.exit(0)


def message_of(act) -> str:
    with pytest.raises(InputError) as error:
        act()
    assert "\n" not in str(error.value)
    return str(error.value)


class Late(nn.Module):
    """A network that ends the process when it gets a whole minibatch."""

    def __init__(self, features: int, outputs: int):
        super().__init__()
        self.linear = nn.Linear(features, outputs)

    def forward(self, features):
        return end() if len(features) == 8 else self.linear(features)


class LatePolicy(MLPPolicySL):
    def build_network(self, features, outputs):
        return Late(features, outputs)


def many_losses(distribution, labels):
    return -distribution.log_prob(labels)


def no_loss(distribution, labels):
    return None


def lost(distribution, labels):
    return distribution.missing


class BadBegin(Rule):
    def begin_round(self, snapshot, data, itr):
        end()


class BadSelect(Rule):
    def select(self, trajectories, budget, rng):
        return {}["all"]


class BadDecision(Rule):
    def decide(self, ob, own, teacher):
        return [][0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"policy_class": "test_own_code:LatePolicy"}, "SystemExit: 0 test_own_code.py, line"),
        ({"loss": "test_own_code:many_losses"}, "test_own_code:many_losses one number (8,)"),
        ({"loss": "test_own_code:no_loss"}, "test_own_code:no_loss one number NoneType"),
        ({"loss": "test_own_code:lost"}, "AttributeError missing test_own_code.py, line"),
        ({"rule": "test_own_code:BadBegin"}, "SystemExit: 0 test_own_code.py, line --resume"),
        ({"rule": "test_own_code:BadSelect"}, "KeyError test_own_code.py, line --resume"),
        ({"rule": "test_own_code:BadDecision"}, "IndexError test_own_code.py, line seed --resume"),
        (
            {"rule": "test_own_code:BadDecision", "num_workers": 2, "env_name": "fakes:Corridor-v0"},
            "IndexError test_own_code.py, line seed --resume",
        ),
    ],
)
def test_own_code_that_fails_is_one_sentence(settings, words, tmp_path):
    message = message_of(lambda: run_in(tmp_path / "run", corridor(tmp_path / "files"), **settings))
    assert all(word in message for word in words.split()), message


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_run_goes_on_when_its_environment_is_corrected(tmp_path, monkeypatch, num_workers):
    config = corridor(tmp_path / "files", n_iter=2)
    whole = run_in(tmp_path / "whole", config)
    exits = iter([False] * 30)  # of iteration 0 and the expert; the next ones are DAgger's
    step = Corridor.step
    with monkeypatch.context() as patch:
        patch.setattr(Corridor, "step", lambda self, action: end() if next(exits, True) else step(self, action))
        message = message_of(lambda: run_in(tmp_path / "run", config))
    assert "Corridor-v0, step" in message and f"--resume {tmp_path / 'run'}" in message
    assert not (tmp_path / "run" / "summary.json").exists()
    again = resume(tmp_path / "run", num_workers=num_workers, verbose=False)
    np.testing.assert_array_equal(again.results[-1].returns, whole.results[-1].returns)


def test_an_environment_that_fails_in_a_video_does_not_end_the_run(tmp_path, monkeypatch, capsys):
    step = Corridor.step
    monkeypatch.setattr(Corridor, "step", lambda self, action: end() if self.render_mode else step(self, action))
    result = run_in(tmp_path / "run", corridor(tmp_path / "files", n_iter=2, video_log_freq=1))
    assert result.summary["status"] == "finished"
    err = capsys.readouterr().err
    assert err.count("no videos") == 1 and "Corridor-v0, step 1" in err

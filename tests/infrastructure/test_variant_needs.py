"""What each variant of DAgger needs, and what is kept of it."""

import numpy as np
import pytest
import torch
from calling import assert_refused, call_script
from fakes import ConstantActor, walk
from variant_episodes import Doubting, Still, demonstrated, roll_out

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.infrastructure.dagger import DAgger, Rule
from rl_il.infrastructure.rules.choosing import Disagreement, KCentre, Random
from rl_il.infrastructure.rules.dart import DART
from rl_il.infrastructure.rules.takeover import EnsembleDAgger, HGDAgger
from rl_il.infrastructure.rules.thrifty import ThriftyDAgger
from rl_il.runs.given import Given


@pytest.mark.parametrize(
    ("rule", "settings", "named"),
    [
        (Random, {"rule": "random"}, "labels_per_iter"),
        (DAgger, {"labels_per_iter": 5}, "random"),
        (HGDAgger, {"rule": "hg", "beta_decay": 0.5}, "beta_decay"),
        (HGDAgger, {"rule": "hg", "rule_kwargs": "threshold=0.1 release=0.2"}, "release"),
        (HGDAgger, {"rule": "hg", "rule_kwargs": "choose=kcentre"}, "labels_per_iter"),
        (HGDAgger, {"rule": "hg", "labels_per_iter": 5, "rule_kwargs": "choose=first"}, "choose"),
        (KCentre, {"rule": "kcentre", "labels_per_iter": 5, "rule_kwargs": "space=all"}, "space"),
        (ThriftyDAgger, {"rule": "thrifty", "ensemble": 2, "rule_kwargs": "rate=2"}, "rate"),
        (DART, {"rule": "dart", "rule_kwargs": "noise=much"}, "noise"),
        (DART, {"rule": "dart", "rule_kwargs": "noise=1.1"}, "noise.*at most 1"),  # the actions are discrete
        (EnsembleDAgger, {"rule": "ensemble_dagger", "ensemble": 2, "rule_kwargs": "doubt=nan"}, "doubt"),
        (ThriftyDAgger, {"rule": "thrifty", "ensemble": 2, "rule_kwargs": "success=yes"}, "success"),
        (KCentre, {"rule": "kcentre", "labels_per_iter": 5, "rule_kwargs": "space=features"}, "--rule_kw.*Doubting"),
    ],
)
def test_a_rule_without_what_it_needs_is_refused(rule, settings, named):
    with pytest.raises(InputError, match=named):
        config = RunConfig(do_dagger=True, n_iter=2, **settings)
        rule.from_config(config).check(config, Doubting(1))


def test_noise_that_is_no_probability_is_refused_before_there_is_a_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = "run_hw1 --env_name LunarLander-v3 --do_dagger --n_iter 2 --rule dart --rule_kwargs noise=1.1"
    assert_refused(call_script(command, monkeypatch, capsys), "noise")
    assert not list(tmp_path.iterdir())


def test_continuous_noise_may_be_large():
    rule = DART(noise=1.1)
    rule.check(RunConfig(do_dagger=True, n_iter=2, rule="dart"), Still(0, 0))
    assert rule.noise == 1.1


@pytest.mark.parametrize("rule", [Disagreement(), EnsembleDAgger(), ThriftyDAgger()])
def test_a_rule_that_needs_an_ensemble_refuses_one_network(rule):
    with pytest.raises(InputError, match="ensemble"):
        rule.check(RunConfig(do_dagger=True, n_iter=2, labels_per_iter=5), ConstantActor(1))


def test_the_arguments_of_a_rule_come_from_the_settings():
    config = RunConfig(do_dagger=True, n_iter=2, rule="hg", rule_kwargs="release=0.1   threshold=0.5")
    assert config.rule_kwargs == "release=0.1 threshold=0.5"
    rule = HGDAgger.from_config(config)
    assert (rule.threshold, rule.release) == (0.5, 0.1)
    with pytest.raises(TypeError):
        Rule.from_config(config)


@pytest.mark.parametrize("rule", ["safe", "thrifty --ensemble 2"])
@pytest.mark.parametrize("settings", ["--env_name CarRacing-v3", "--history 2"])
def test_such_rules_are_refused_before_there_is_a_folder(tmp_path, capsys, monkeypatch, rule, settings):
    monkeypatch.chdir(tmp_path)
    command = f"run_hw1 --do_dagger --n_iter 2 --rule {rule} {settings}"
    assert_refused(call_script(command, monkeypatch, capsys), "--history 1" if "history" in settings else "pictures")
    assert not list(tmp_path.iterdir())


def test_a_rules_state_survives(tmp_path):
    rule = ThriftyDAgger(success=lambda trajectory: False)
    rule.select([walk(3)], None, None)
    torch.save(rule.state_dict(), tmp_path / "state.pt")
    again = ThriftyDAgger()
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    np.testing.assert_array_equal(again._visited, walk(3).obs[:-1])
    np.testing.assert_array_equal(again._outcomes, np.zeros((3, 1)))


def test_a_rule_object_is_described_by_its_settings_only():
    """Else the seeds of one setting would count as different settings."""
    rule = ThriftyDAgger()
    before = Given(rule=rule).name_in(RunConfig()).rule
    roll_out(rule)
    assert Given(rule=rule).name_in(RunConfig()).rule == before
    assert rule._visited is not None
    rule.begin_round(Doubting(1), demonstrated(), 1)  # of another run
    assert rule._visited is None

"""One training for several lengths: what it leaves, and how it goes on after a stop."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_sweep import BASE, LENGTHS, contents

from rl_il.ablation import lengths, sweep
from rl_il.ablation.grid import Ablation
from rl_il.ablation.sweep import run_ablation
from rl_il.experiment import run
from rl_il.infrastructure import rl_trainer
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.report.runs import read_run

STEPS = Ablation(replace(BASE, val_fraction=0.2), {"num_agent_train_steps_per_iter": [20, 60, 130]}, n_seeds=1)
PASSES = Ablation(replace(BASE, train_batch_size=32), {"n_epochs": [1, 3]}, n_seeds=1)  # of 11 minibatches


@pytest.mark.parametrize(
    "ablation",
    [
        replace(LENGTHS, base=replace(BASE, val_fraction=0.2, normalize_obs=True, weight_decay=0.01)),
        Ablation(replace(BASE, train_batch_size=64), {"n_epochs": [1, 3]}, n_seeds=1),
        Ablation(BASE, {"size": [8, 16], "num_agent_train_steps_per_iter": [150, 20]}, n_seeds=1),
    ],
    ids=["steps", "epochs", "grid"],
)
def test_lengths_on_the_way_are_the_same_as_separate_runs(tmp_path, ablation):
    run_ablation(ablation, tmp_path / "together", verbose=False)
    for config in ablation.configs():
        apart = run(replace(config, logdir=str(tmp_path / "apart" / config.logdir)), verbose=False)
        together = tmp_path / "together" / config.logdir
        assert not (together / "checkpoint").exists()
        assert (together / "episodes.csv").read_text() == (apart.folder / "episodes.csv").read_text()
        one, other = read_run(together), read_run(apart.folder)
        for row in (*one.metrics, *other.metrics):
            del row["TimeSinceStart"]
        assert one.metrics == other.metrics
        assert {**one.summary, "wall_seconds": 0} == {**other.summary, "wall_seconds": 0}
        weights = [MLPPolicySL.load(run.folder / "policy_itr_0.pt").state_dict() for run in (one, other)]
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


# Going on after a stop --------------------------------------------------------------------------------------


class Killed(BaseException):
    """Passes by every `except` that could put something in order."""


@pytest.fixture
def here(monkeypatch):
    """Ablations run in this process; `here(owner, name, call)` has the method raise `Killed` at that call, and
    returns the list that grows by each."""

    def launch(jobs, outdir, processes):
        for job in jobs:
            for _ in job.run(outdir):
                yield job, None

    def watch(owner, name, call=None):
        calls, original = [], getattr(owner, name)

        def method(*args, **kwargs):
            calls.append(1)
            if len(calls) == call:
                raise Killed
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, method)
        return calls

    monkeypatch.setattr(sweep, "launch_local", launch)
    return watch


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory):
    """Each sweep that nobody killed."""
    outdirs = {}
    for name, ablation in (("steps", STEPS), ("passes", PASSES)):
        outdirs[name] = tmp_path_factory.mktemp("sweep") / name
        run_ablation(ablation, outdirs[name], verbose=False)
    return outdirs


def go_on_to_the_same(ablation: Ablation, outdir: Path, whole: Path, here) -> int:
    """Ends the ablation with the same tables and runs; returns how many gradient steps that took."""
    updates = here(MLPPolicySL, "update")
    run_ablation(ablation, outdir, verbose=False)
    assert contents(outdir) == contents(whole)
    for config in ablation.configs():
        one, other = outdir / config.logdir, whole / config.logdir
        assert (one / "episodes.csv").read_text() == (other / "episodes.csv").read_text()
        weights = [MLPPolicySL.load(folder / "policy_itr_0.pt").state_dict() for folder in (one, other)]
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
        assert [len(list(folder.glob("*tfevents*"))) for folder in (one, other)] == [1, 1]
    return len(updates)


# A length ends with its evaluation and its summary; the checkpoint of its last step is before both.
@pytest.mark.parametrize(
    ("owner", "name", "call", "every_step", "lengths_left", "steps_left"),
    [
        (MLPPolicySL, "update", 15, False, 3, 130),  # nothing is saved yet
        (MLPPolicySL, "update", 45, False, 2, 110),  # since the end of the first length
        (MLPPolicySL, "update", 45, True, 2, 86),  # since the step before, by the clock
        (MLPPolicySL, "update", 105, True, 1, 26),  # the longest alone is left
        (rl_trainer.RLTrainer, "evaluate", 1, False, 3, 110),
        (rl_trainer.RLTrainer, "evaluate", 2, False, 2, 70),
        (rl_trainer.RLTrainer, "evaluate", 3, False, 1, 0),
        (lengths, "finish_folder", 2, False, 2, 70),
        (lengths, "tidy_up", 1, False, 0, 0),
    ],
)
def test_a_killed_sweep_of_lengths_goes_on(
    tmp_path, monkeypatch, unkilled, here, owner, name, call, every_step, lengths_left, steps_left
):
    with monkeypatch.context() as patch:
        patch.setattr(rl_trainer, "SECONDS_BETWEEN_CHECKPOINTS", 0 if every_step else 60)
        here(owner, name, call)
        with pytest.raises(Killed):
            run_ablation(STEPS, tmp_path, verbose=False)
    assert sum(not sweep.is_done(config, tmp_path) for config in STEPS.configs()) == lengths_left
    assert go_on_to_the_same(STEPS, tmp_path, unkilled["steps"], here) == steps_left


@pytest.mark.parametrize(("call", "steps_left"), [(3, 31), (15, 19)])
def test_a_killed_sweep_of_passes_goes_on(tmp_path, monkeypatch, unkilled, here, call, steps_left):
    with monkeypatch.context() as patch:
        patch.setattr(rl_trainer, "SECONDS_BETWEEN_CHECKPOINTS", 0)
        here(MLPPolicySL, "update", call)
        with pytest.raises(Killed):
            run_ablation(PASSES, tmp_path, verbose=False)
    assert go_on_to_the_same(PASSES, tmp_path, unkilled["passes"], here) == steps_left


def test_a_sweep_begins_again_where_its_checkpoint_is_beyond_a_length_that_is_missing(tmp_path, unkilled, here):
    here(rl_trainer.RLTrainer, "save", 3)
    with pytest.raises(Killed):
        run_ablation(STEPS, tmp_path, verbose=False)
    (tmp_path / STEPS.configs()[0].logdir / "summary.json").unlink()
    assert go_on_to_the_same(STEPS, tmp_path, unkilled["steps"], here) == 130


def test_a_sweep_does_not_go_on_from_other_settings(tmp_path, unkilled, here):
    other = replace(STEPS, base=replace(STEPS.base, learning_rate=1e-3))
    here(rl_trainer.RLTrainer, "evaluate", 1)
    with pytest.raises(Killed):
        run_ablation(other, tmp_path, verbose=False)
    assert go_on_to_the_same(STEPS, tmp_path, unkilled["steps"], here) == 130

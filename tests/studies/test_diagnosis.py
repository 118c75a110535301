"""Diagnosis of drift: on a corridor, where every number can be calculated by hand, and on a small DAgger run."""

import dataclasses
import json
import shlex
import shutil
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from calling import assert_refused, call_script
from fakes import PICTURE, ConstantActor, StepModuloThree, corridor_length, picture_of, walk

from rl_il.config import RunConfig
from rl_il.datasets import load_trajectories
from rl_il.datasets.npz import save_trajectories
from rl_il.envs import ENVS, make_env
from rl_il.errors import InputError
from rl_il.experts.loading import load_expert
from rl_il.infrastructure.rollouts import sample_n_trajectories
from rl_il.policies.cnn_policy import CNNPolicySL
from rl_il.policies.ensemble import EnsemblePolicySL
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.report import drift as drift_figures
from rl_il.report.drift import Drift, OnStates, bin_width, draw_drift, mean_by_time, spread_by_time
from rl_il.runs.experiment import run
from rl_il.runs.parts import load_demonstrations
from rl_il.seeding import episode_seeds, stream
from rl_il.statistics import bootstrap_interval
from rl_il.studies.diagnosis import measures
from rl_il.studies.diagnosis.diagnose import diagnose
from rl_il.studies.diagnosis.measures import (
    first_divergence,
    nearest_distances,
    nearest_rows,
)
from rl_il.studies.diagnosis.subjects import Named, common_config, find_loss, find_policies, states_of

LANDER = "LunarLander-v3"
FILES = ["drift.png", "drift.svg", "losses.md", "divergence.png"]


def lengths_of(episodes: int, seed: int = 0) -> list[int]:
    """Return the length of the corridor in each episode of the evaluation."""
    return [corridor_length(s) for s in islice(episode_seeds(stream(seed, "evaluation")), episodes)]


# Numbers --------------------------------------------------------------------------------------------------


def test_distances_in_chunks_are_those_of_all_pairs(monkeypatch):
    monkeypatch.setattr(measures, "CHUNK", 100)
    rows = np.random.default_rng(0).normal(1000, 1, (30, 4))
    queries = np.random.default_rng(1).normal(1000, 1, (50, 4))
    pairs = np.linalg.norm(queries[:, None] - rows, axis=2)
    np.testing.assert_allclose(nearest_rows(queries, rows, "")[1], pairs.min(axis=1))
    own = np.linalg.norm(rows[:, None] - rows, axis=2) + np.diag(np.full(30, np.inf))
    nearest, distances = nearest_rows(rows, rows, "", but_itself=True)
    np.testing.assert_array_equal(nearest, own.argmin(axis=1))
    np.testing.assert_allclose(distances, own.min(axis=1))


@pytest.mark.parametrize(
    ("errors", "limit", "step", "diverges"),
    [
        (
            [0] * 12 + [1] * 6 + [0] * 9,
            0.5,
            12,
            True,
        ),  # the first window with six begins at step 8
        (
            [0] * 12 + [1] * 5 + [0] * 9,
            0.5,
            12,
            False,
        ),  # five of ten are not more than half
        (
            [1, 0, 0, 0] * 3 + [1] * 10,
            0.5,
            8,
            True,
        ),  # the first window with six begins at step 7
        ([0, 1, 1], 0.5, 1, True),  # shorter than a window
        ([0.1] * 10 + [0.2, 0.9, 0.4] + [0.1] * 10, 0.2, 11, True),
    ],
)
def test_the_first_divergence(errors, limit, step, diverges):
    assert first_divergence(np.array(errors, float), limit) == (step, diverges)


def test_means_by_time():
    values = [np.array([1.0, 0, 1]), *[np.array([0.0, 0])] * 3, np.array([1.0, 1])]
    band = mean_by_time(values, width=2)
    assert band.steps.tolist() == [0.5, 2.5]
    assert band.running.tolist() == [5, 1]
    assert band.middle.tolist() == [0.3, 1]
    low, high = bootstrap_interval([[0.5, 0, 0, 0, 1]])  # the interval of the episodes' means in the first bin
    assert (band.low[0], band.high[0]) == pytest.approx((low, high), abs=0.11)  # resamples differ by steps of 0.1
    assert np.isnan([band.low[1], band.high[1]]).all()  # fewer than five episodes have no interval
    root = mean_by_time([np.array([4.0, 0, 9]), np.array([0.0, 0])], width=2, root=True)
    assert root.middle.tolist() == [1, 3]
    assert np.isnan(root.high).all()


def test_medians_by_time():
    band = spread_by_time([np.arange(4.0), np.array([10.0, 11, 12])], width=3)
    assert band.running.tolist() == [2, 1]
    assert band.middle.tolist() == [np.median([0, 1, 2, 10, 11, 12]), 3]
    assert [band.low[0], band.high[0]] == np.percentile([0, 1, 2, 10, 11, 12], [10, 90]).tolist()


def on_states(lengths: list[int], error: float) -> OnStates:
    return OnStates([np.full(n, error) for n in lengths], [np.full(n, error + 1) for n in lengths], 0.0)


def drift(name: str, lengths: list[int], error: float) -> Drift:
    states = on_states(lengths, error)
    return Drift(name, np.zeros(len(lengths)), states, states, states, "0-1", 1, True, discrete=True)


def test_bins_cover_what_a_tenth_of_the_episodes_reach():
    assert bin_width([on_states([30] * 18 + [60, 60, 9000], 0), on_states([5], 0)]) == 2


@pytest.fixture
def figures(monkeypatch):
    """Return a list to which each figure of drift is added when it has been saved."""
    saved, save = [], drift_figures.save
    monkeypatch.setattr(drift_figures, "save", lambda figure, *paths: save(figure, *paths) or saved.append(figure))
    return saved


def test_long_names_do_not_squash_the_pictures(tmp_path, figures):
    names = [f"a policy with rather a long name, number {i}" for i in range(4)]
    for drifts in ([drift("A", [9], 0.5)], [drift(name, [9], 0.5) for name in names]):
        draw_drift(tmp_path, "title", drifts, "words")
    few, many = ([axes.get_position().width for axes in figure.axes] for figure in figures)
    np.testing.assert_allclose(many, few, rtol=0.02)


def test_bins_that_few_episodes_reach_are_not_drawn(tmp_path, figures):
    paths = draw_drift(
        tmp_path, "title", [drift("A", [10] * 28 + [20] * 2, 0.5), drift("B", [30] * 30, 0.25)], "words"
    )
    assert [path.name for path in paths] == FILES[:2]
    left, right = figures[0].axes
    solid = {line.get_label(): line.get_xdata() for line in left.get_lines() if line.get_linestyle() == "-"}
    assert [len(steps) for steps in solid.values()] == [10, 30]
    assert list(solid) == ["A", "B"]
    legends = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in (left, right)]
    assert legends == [["A", "B"], ["on states it visits itself", "on the expert's states"]]
    assert {line.get_ydata()[0] for line in left.get_lines()} == {0.5, 0.25}
    assert {line.get_ydata()[0] for line in right.get_lines()} == {1.5, 1.25}


@pytest.fixture
def undrawn(monkeypatch):
    """Leave out the pictures, which take most of the time."""
    monkeypatch.setattr("rl_il.studies.diagnosis.diagnose.draw_drift", lambda *_: [])
    monkeypatch.setattr("rl_il.studies.diagnosis.diagnose.film_divergence", lambda *_: None)


# A corridor -----------------------------------------------------------------------------------------------


@pytest.fixture
def corridor(tmp_path, monkeypatch):
    """Return a function: `corridor("Corridor-v0", 1)` diagnoses the policy that always takes action 1.

    The expert is `StepModuloThree`; its demonstration is one walk of four steps.
    """
    monkeypatch.setattr("rl_il.studies.diagnosis.diagnose.load_expert", lambda *_: StepModuloThree())
    save_trajectories(tmp_path / "demos.npz", [walk(4)])

    def call(env_name: str = "Corridor-v0", *actions: int, episodes: int = 9, **kwargs):
        policies = [always(tmp_path, action) for action in actions]
        kwargs = {"demos": str(tmp_path / "demos.npz"), "out": tmp_path / "out"} | kwargs
        return diagnose(policies, env_name=env_name, episodes=episodes, **kwargs)

    return call


def always(folder: Path, action: int | list[float]) -> str:
    """Write the file of a policy that always takes this action, and return its path."""
    discrete = isinstance(action, int)
    path = folder / f"always_{action if discrete else 'so'}.npz"
    meta = json.dumps({"activation": "tanh", "output": "argmax" if discrete else "identity"})
    outputs = np.eye(3)[action] if discrete else np.array(action, float)
    np.savez(path, w0=np.zeros((2, len(outputs))), b0=outputs, meta=np.array(meta))
    return str(path)


def test_a_corridor_by_hand(corridor):
    result = corridor("Corridor-v0", 1, 2)
    assert [path.name for path in result.files] == FILES
    assert all(path.stat().st_size for path in result.files)
    one, two = result.drifts
    assert (one.name, two.name) == ("always_1", "always_2")
    lengths = lengths_of(9)
    assert len({*lengths}) > 2
    assert one.scores.tolist() == lengths and two.scores.tolist() == [2 * n for n in lengths]
    for drifted, agrees in ((one, 1), (two, 2)):
        for states in (drifted.own, drifted.experts):  # the visited states do not depend on the actions here
            assert [list(e) for e in states.errors] == [[float(t % 3 != agrees) for t in range(n)] for n in lengths]
            expected = [[np.hypot(max(0, t - 3) / np.std(range(4)), n - 4) for t in range(n)] for n in lengths]
            np.testing.assert_allclose(np.concatenate(states.distances), np.concatenate(expected), atol=1e-6)
            assert states.loss == states.disagreement(True) == np.concatenate(states.errors).mean()
    assert one.demonstrated.loss == 3 / 4  # it agrees at step 1 only, of steps 0 to 3
    assert two.demonstrated.loss == 3 / 4
    assert (one.loss_name, one.training_states, one.all_known) == ("0-1", 4, False)


def test_the_table_and_the_files_say_the_same(corridor):
    result = corridor("Corridor-v0", 1, names=["clone"])
    cells = {row.split("|")[1].strip(): row.split("|")[2].strip() for row in result.table.splitlines()}
    errors = np.concatenate(result.drifts[0].own.errors)
    assert cells[""] == "clone"
    assert cells["episodes"] == "9"
    assert cells["mean return"] == f"{np.mean(lengths_of(9)):.1f}"
    assert cells["disagreement on its own states"] == f"{100 * errors.mean():.1f} %"
    assert cells["its own states / fresh expert states"] == "1.0"
    assert cells["loss on the demonstrations"] == "0.7500"
    assert result.table in (result.folder / "losses.md").read_text()


@pytest.fixture
def continuous_corridor(tmp_path, monkeypatch):
    """Return a function that diagnoses a policy against an expert with [0, 0]: by default one with [3, -1]."""
    save_trajectories(tmp_path / "demos.npz", [walk(4, acs=np.zeros((4, 2), np.float32))])
    monkeypatch.setattr("rl_il.studies.diagnosis.diagnose.load_expert", lambda *_: ConstantActor(np.float32([0, 0])))
    demos, usual = str(tmp_path / "demos.npz"), always(tmp_path, [3, -1])

    def call(policy: str = usual, env_name: str = "CorridorContinuous-v0", **kwargs):
        return diagnose([policy], env_name=env_name, episodes=3, demos=demos, out=tmp_path / "out", **kwargs)

    return call


def test_continuous_actions_are_compared_unclipped(continuous_corridor, undrawn):
    result = continuous_corridor()
    (drifted,) = result.drifts
    assert drifted.scores.tolist() == lengths_of(3)  # 1 for each step, so the action 3 was clipped
    assert {*np.concatenate(drifted.own.errors)} == {5.0}
    assert drifted.own.disagreement(discrete=False) == 5**0.5
    assert (drifted.loss_name, drifted.own.loss, drifted.demonstrated.loss) == ("mse", 5.0, 5.0)
    assert "2.236" in result.table


def test_the_draws_of_a_policy_do_not_depend_on_earlier_ones(continuous_corridor, undrawn, tmp_path):
    MLPPolicySL((2,), 2, False, size=8, head="mixture").save(tmp_path / "draws.pt")
    found = {
        continuous_corridor(str(tmp_path / "draws.pt"), "fakes:CorridorContinuous-v0", num_workers=workers).table
        for workers in (1, 2)
    }
    assert len(found) == 1


@pytest.mark.parametrize(("times", "limit"), [(3, "6.71"), (0.5, "1.12")])
def test_a_continuous_divergence_is_relative_to_the_experts_states(continuous_corridor, monkeypatch, times, limit):
    monkeypatch.setattr("rl_il.studies.diagnosis.diagnose.TIMES", times)  # times 2.236, the difference on all states
    assert limit in strip_of(monkeypatch, continuous_corridor).caption


def strip_of(monkeypatch, corridor, *args, **kwargs):
    """Return the strip of frames of a diagnosis, as it is passed to the drawing."""
    strips = []
    monkeypatch.setattr("rl_il.studies.diagnosis.diagnose.draw_drift", lambda *_: [])
    monkeypatch.setattr("rl_il.studies.diagnosis.diagnose.draw_strip", lambda path, strip: strips.append(strip))
    corridor(*args, **kwargs)
    (strip,) = strips
    return strip


def test_the_strip_shows_the_median_episodes_first_divergence(corridor, monkeypatch):
    monkeypatch.setattr("rl_il.studies.diagnosis.diagnose.OFFSETS", (-3, 0, 1, 99))
    monkeypatch.setattr("rl_il.studies.diagnosis.measures.WINDOW", 2)
    assert lengths_of(9) == [4, 5, 5, 4, 3, 4, 3, 6, 5]  # the returns are equal to the lengths
    strip = strip_of(monkeypatch, corridor, "Corridor-v0", 1, 2)
    assert strip.name == "always_1"
    assert strip.step == 2  # it agrees at step 1; steps 2 and 3 are the first two in a row that differ
    assert list(strip.steps) == [0, 2, 3]
    assert [frame[0, 0, 0] for frame in strip.frames] == [0, 20, 30]
    assert strip.acs.tolist() == [1, 1, 1]
    assert strip.labels.tolist() == [0, 2, 0]
    assert "4.0 after 4 steps" in strip.caption and "step 2" in strip.caption
    monkeypatch.setattr("rl_il.studies.diagnosis.diagnose.load_expert", lambda *_: ConstantActor(1))
    assert strip_of(monkeypatch, corridor, "Corridor-v0", 1).step == 0  # it never diverges, so no step is worse


@pytest.mark.parametrize("env_name", ["BlindCorridor-v0", "Corridor-v0"])
def test_without_frames_the_other_files_are_written(corridor, monkeypatch, capsys, env_name):
    if env_name == "Corridor-v0":  # then drawing gives another episode
        frames = np.zeros((3, 2, 2, 3), np.uint8)
        monkeypatch.setattr("rl_il.studies.diagnosis.diagnose.frames_at", lambda *_: (frames, walk(2)))
    assert [path.name for path in corridor(env_name, 1).files] == FILES[:3]
    assert capsys.readouterr().err.count("note: ") == 1


def test_another_seed_or_length_gives_other_episodes(corridor, undrawn):
    first, other, short = (corridor("Corridor-v0", 1, **changes) for changes in ({}, {"seed": 4}, {"ep_len": 2}))
    assert [r.folder.name for r in (first, other, short)] == ["out", "out_2", "out_3"]
    assert other.drifts[0].scores.tolist() == lengths_of(9, seed=4) != first.drifts[0].scores.tolist()
    assert {*short.drifts[0].scores} == {2}


# A run folder ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dagger_run(tmp_path_factory):
    """Return the folder of a small DAgger run, and its config."""
    folder = tmp_path_factory.mktemp("run") / "run"
    config = RunConfig(
        do_dagger=True,
        n_iter=3,
        n_demos=1,
        num_agent_train_steps_per_iter=50,
        batch_size=150,
        ep_len=90,
        eval_episodes=1,
        val_fraction=0.1,
        video_log_freq=-1,
        seed=4,
        logdir=str(folder),
    )
    run(config, verbose=False)
    return folder, config


@pytest.fixture(scope="module")
def run_diagnosis(dagger_run, tmp_path_factory):
    """Return the diagnosis of the run's iteration 0 and its last one, and the training states it used."""
    folder, _ = dagger_run
    trained_on = []

    def note(states, training_states, *rest):
        trained_on.append(training_states)
        return nearest_distances(states, training_states, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rl_il.studies.diagnosis.diagnose.nearest_distances", note)
        out = tmp_path_factory.mktemp("out") / "out"
        result = diagnose([str(folder / "policy_itr_0.pt"), str(folder)], episodes=3, seed=1, out=out)
    return result, trained_on


def test_the_training_set_is_demonstrations_and_collected_data(dagger_run, run_diagnosis):
    folder, config = dagger_run
    result, trained_on = run_diagnosis
    demonstrations = load_demonstrations(config, make_env(LANDER))
    rounds = [load_trajectories(folder / "data" / f"itr_{itr}.npz") for itr in (1, 2)]
    assert all(sum(map(len, each)) >= config.batch_size for each in rounds)
    cloned, improved = states_of(demonstrations), states_of([*demonstrations, *rounds[0], *rounds[1]])
    for states, expected in zip(trained_on, (cloned, cloned, improved, improved), strict=True):
        np.testing.assert_array_equal(states, expected)
    assert [d.training_states for d in result.drifts] == [len(cloned), len(improved)]
    assert all(d.all_known for d in result.drifts)
    half = walk(4, labelled=np.array([True, False, True, False]))  # unlabelled states were not trained on
    assert states_of([walk(2), half])[:, 0].tolist() == [0, 1, 0, 2]


def test_settings_and_demonstrations_are_those_of_the_run(dagger_run, run_diagnosis):
    folder, config = dagger_run
    clone, last = run_diagnosis[0].drifts
    assert (clone.name, last.name) == ("BC", "DAgger, iteration 2")
    assert all(len(e) <= 90 for d in (clone, last) for e in (*d.own.errors, *d.experts.errors))  # ep_len of the run
    assert len(clone.own.errors) == len(clone.experts.errors) == 3
    env = make_env(LANDER)
    obs = np.concatenate([t.obs[:-1] for t in load_demonstrations(config, env)])
    labels = load_expert(None, env).get_action(obs)
    policy = MLPPolicySL.load(folder / "policy_itr_0.pt")
    logits = policy.head.network(policy.encoder(policy.encoder.ob_mean.new_tensor(obs))).detach().double().numpy()
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(obs)), labels]
    assert clone.loss_name == "cross-entropy"
    assert clone.demonstrated.loss == pytest.approx(losses.mean(), rel=1e-4)
    assert clone.demonstrated.disagreement(True) == pytest.approx((logits.argmax(axis=1) != labels).mean())


def test_the_loss_of_a_policy_that_sees_single_pictures(tmp_path):
    policy = CNNPolicySL(PICTURE, 2, False, frame_stack=1, size=8)
    policy.save(tmp_path / "pictures.pt")
    obs, labels = np.stack([picture_of(step) for step in range(3)]), np.float32([[1, 0], [0, 1], [1, 1]])
    name, loss = find_loss(str(tmp_path / "pictures.pt"), policy, discrete=False)
    assert name == "mse"
    assert loss(obs, labels) == pytest.approx(((policy.get_action(obs) - labels) ** 2).mean())


@pytest.mark.parametrize("head", ["gaussian", "mixture", "flow"])
def test_the_loss_of_a_policy_with_chunks_is_that_of_the_first_actions(tmp_path, head):
    policy = MLPPolicySL((2,), 2, False, size=8, chunk=3, head=head)
    policy.save(tmp_path / "chunks.pt")
    actor, obs = policy.actor(), np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    actor.reset()
    acs = actor.get_action(obs)
    name, loss = find_loss(str(tmp_path / "chunks.pt"), actor, discrete=False)
    assert (name, loss(obs, acs), loss(obs, acs + np.array([0, 2]))) == ("mse", 0, pytest.approx(2, rel=1e-6))


@pytest.mark.parametrize("policy_class", [MLPPolicySL, EnsemblePolicySL])
def test_the_loss_of_a_policy_is_measured_on_all_states_without_dropout(policy_class, tmp_path):
    policy = policy_class((3,), 2, False, size=8, dropout=0.5)
    policy.save(tmp_path / "policy.pt")
    rng = np.random.default_rng(0)
    obs, labels = rng.normal(size=(7, 3)).astype(np.float32), rng.normal(size=(7, 2)).astype(np.float32)
    _, loss = find_loss(str(tmp_path / "policy.pt"), policy, discrete=False)
    expected = policy.eval().loss(torch.from_numpy(obs), torch.from_numpy(labels)).item()
    assert loss(obs, labels) == pytest.approx(expected)


def test_expert_states_are_those_of_its_own_episodes(dagger_run, run_diagnosis):
    env = make_env(LANDER)
    trajectories = sample_n_trajectories(env, load_expert(None, env), 3, stream(1, "evaluation"), 90)
    policy = MLPPolicySL.load(dagger_run[0] / "policy_itr_0.pt")
    clone, _ = run_diagnosis[0].drifts
    for trajectory, errors in zip(trajectories, clone.experts.errors, strict=True):
        assert errors.tolist() == (policy.get_action(trajectory.obs[:-1]) != trajectory.acs).tolist()


def test_workers_change_nothing(dagger_run, run_diagnosis, tmp_path):
    folder, _ = dagger_run
    policies = [str(folder / "policy_itr_0.pt"), str(folder)]
    again = diagnose(policies, episodes=3, seed=1, num_workers=2, out=tmp_path / "out")
    assert again.table == run_diagnosis[0].table
    for name in FILES:
        assert (again.folder / name).read_bytes() == (run_diagnosis[0].folder / name).read_bytes()


@pytest.fixture
def copied_run(dagger_run, tmp_path) -> Path:
    return Path(shutil.copytree(dagger_run[0], tmp_path / "copy"))


def test_a_checkpoint_outside_a_run_folder_has_only_the_demonstrations(copied_run, dagger_run, tmp_path, undrawn):
    lone = tmp_path / "policy_itr_2.pt"
    shutil.copy(copied_run / "policy_itr_2.pt", lone)
    result = diagnose([str(copied_run / "policy_itr_0.pt"), str(lone)], episodes=1, out=tmp_path / "out")
    clone, other = result.drifts
    assert (other.name, other.all_known, other.loss_name) == ("policy_itr_2", False, "cross-entropy")
    demonstrated = sum(map(len, load_demonstrations(dagger_run[1], make_env(LANDER))))
    assert other.training_states == clone.training_states == demonstrated


def test_the_runs_seed_chooses_episodes_of_other_demonstrations(copied_run, dagger_run, tmp_path, undrawn):
    few = str(tmp_path / "few.npz")
    save_trajectories(few, load_trajectories(ENVS[LANDER].demos_path, make_env(LANDER), n_demos=2))
    renamed = {"at" if name == "observations" else name: array for name, array in np.load(few).items()}
    np.savez(tmp_path / "renamed.npz", **renamed)
    demos = {"demos": str(tmp_path / "renamed.npz"), "settings": {"keys": "obs=at"}}
    result = diagnose([str(copied_run / "policy_itr_0.pt")], episodes=1, out=tmp_path / "out", **demos)
    env, lengths = make_env(LANDER), []
    for path in (None, few):
        (one,) = load_demonstrations(dataclasses.replace(dagger_run[1], expert_data=path), env)
        lengths.append(len(one))
    assert lengths[0] != lengths[1]
    assert [len(errors) for errors in result.drifts[0].demonstrated.errors] == lengths[1:]


def test_what_the_run_says_about_its_own_demonstrations_does_not_hold_for_others(tmp_path):
    config = RunConfig(expert_data="own.npz", keys="obs=x", obs_keys="x", split_every=3)
    found = [Named("BC", "policy.pt", SimpleNamespace(config=config, folder=tmp_path))]
    assert common_config(found, None, {"expert_data": None}) == config
    other = common_config(found, None, {"expert_data": "other.npz", "split_every": 5})
    assert (other.expert_data, other.keys, other.obs_keys, other.split_every) == ("other.npz", None, None, 5)


# Mistakes -------------------------------------------------------------------------------------------------

CAR = {"env_name": "CarRacing-v3", "demos": "any.npz"}
MISTAKES = [  # what the message must contain, the policies, other arguments
    ("--env_name", ["random"], {}),
    ("nowhere.pt", ["nowhere.pt"], {}),
    ("nowhere.npz", ["random"], {"env_name": LANDER, "expert": "nowhere.npz"}),
    ("nowhere.npz", ["random"], {"env_name": LANDER, "demos": "nowhere.npz"}),
    ("1 .*2 ", ["CLONE", "RUN"], {"names": ["BC"]}),
    ("A, A", ["CLONE", "RUN"], {"names": ["A", "A"]}),
    ("Hopper-v5 .*--env_name", ["RUN"], {"env_name": "Hopper-v5"}),
    (f"{LANDER}.*Hopper-v5", ["RUN", "OTHER"], {"names": ["A", "B"]}),
    ("expert .*CarRacing-v3", ["random"], CAR),
    ("CartPole-v1.*--demos", ["random"], {"env_name": "CartPole-v1"}),
    ("CartPole-v1", ["random"], {"env_name": "CartPole-v1", "demos": "any.npz"}),
    ("--seed", ["random"], {"env_name": LANDER, "seed": -1}),
    (r"itr_1\.npz.*run_hw1", ["OLD"], {}),  # a run of an older version kept no data
]


@pytest.mark.parametrize(("words", "policies", "kwargs"), MISTAKES, ids=str)
def test_a_mistake_is_reported_before_any_rollout(tmp_path, copied_run, monkeypatch, words, policies, kwargs):
    other = Path(shutil.copytree(copied_run, tmp_path / "other"))
    record = json.loads((other / "config.json").read_text())
    record["config"]["env_name"] = "Hopper-v5"
    (other / "config.json").write_text(json.dumps(record))
    old = Path(shutil.copytree(copied_run, tmp_path / "old"))
    shutil.rmtree(old / "data")
    paths = {"CLONE": f"{copied_run}/policy_itr_0.pt", "RUN": str(copied_run), "OTHER": str(other), "OLD": str(old)}
    monkeypatch.setattr(
        "rl_il.studies.diagnosis.diagnose.sample_n_trajectories", lambda *_: pytest.fail("rolled out")
    )
    with pytest.raises(InputError, match=words):
        diagnose([paths.get(policy, policy) for policy in policies], out=tmp_path / "out", **kwargs)
    assert not (tmp_path / "out").exists()


def test_a_policy_that_reads_the_simulator_is_refused(tmp_path, monkeypatch):
    idle = ConstantActor([0, 0, 0], (96, 96, 3))
    monkeypatch.setattr("rl_il.studies.diagnosis.diagnose.load_expert", lambda *_: idle)
    with pytest.raises(InputError, match="car_driver"):
        diagnose(["car_driver"], out=tmp_path / "out", **CAR)


def test_names_of_policies(dagger_run):
    folder, _ = dagger_run
    found = find_policies(
        [f"{folder}/policy_itr_0.pt", f"{folder}/policy_itr_1.pt", str(folder), "random", "hf:a/b/c.zip"]
    )
    assert [each.name for each in found] == ["BC", "DAgger, iteration 1", "DAgger, iteration 2", "random", "c"]
    assert [each.itr for each in found[:3]] == [0, 1, 2]
    assert found[4].run is None


# The script -----------------------------------------------------------------------------------------------


def test_the_script_prints_the_table_and_the_files(copied_run, tmp_path, monkeypatch, capsys):
    policies, new = shlex.join([str(copied_run / "policy_itr_0.pt"), str(copied_run)]), tmp_path / "new"
    command = f"diagnose --policy {policies} --names BC DAgger --episodes 1 --out {new}"
    status, out, err = call_script(command, monkeypatch, capsys)
    assert (status, err) == (0, "")
    assert out.splitlines()[0].split() == ["|", "|", "BC", "|", "DAgger", "|"]
    assert out.split()[-4:] == [str(new / name) for name in FILES]
    assert_refused(call_script("diagnose --policy nowhere.pt", monkeypatch, capsys), "nowhere.pt")

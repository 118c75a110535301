"""Where drift comes from, on a corridor where every number can be worked out by hand, and on a small DAgger run."""

import dataclasses
import json
import runpy
import shutil
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from fakes import ConstantActor, StepModuloThree, corridor_length, walk
from matplotlib import pyplot

from rl_il.config import RunConfig
from rl_il.datasets import load_trajectories
from rl_il.datasets.npz import save_trajectories
from rl_il.diagnosis.diagnose import diagnose
from rl_il.diagnosis.measures import action_errors, first_divergence, nearest_distances, state_scale
from rl_il.diagnosis.subjects import find_policies
from rl_il.envs import ENVS, make_env
from rl_il.errors import InputError
from rl_il.experiment import run
from rl_il.infrastructure.rl_trainer import RLTrainer
from rl_il.infrastructure.rollouts import sample_n_trajectories
from rl_il.infrastructure.seeding import episode_seeds, stream
from rl_il.policies.experts import load_expert
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.report.drift import Drift, OnStates, bin_width, draw_drift, mean_by_time, spread_by_time
from rl_il.run_parts import load_demonstrations

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "diagnose.py"
FILES = ["drift.png", "drift.svg", "losses.md", "divergence.png"]


def lengths_of(episodes: int, seed: int = 0) -> list[int]:
    """How long the corridor is in each of the evaluation's episodes."""
    return [corridor_length(s) for s in islice(episode_seeds(stream(seed, "evaluation")), episodes)]


# Numbers --------------------------------------------------------------------------------------------------


def test_errors_of_actions():
    assert action_errors(np.array([0, 1, 2]), np.array([0, 2, 2]), discrete=True).tolist() == [0, 1, 0]
    acs, labels = np.float32([[3, -1], [0, 0]]), np.float32([[0, 0], [0, 2]])
    assert action_errors(acs, labels, discrete=False).tolist() == [(9 + 1) / 2, 4 / 2]


def test_the_distance_is_to_the_nearest_training_state_in_units_of_its_spread():
    scale = state_scale(np.array([[0.0, 5], [4, 5]]))
    assert scale.tolist() == [2, 1]  # the second number never varies
    training, states = np.array([[0.0, 0], [10, 0]]), np.array([[4.0, 0], [8, 1], [10, 0]])
    assert nearest_distances(states, training, scale).tolist() == pytest.approx([2, 2**0.5, 0], abs=1e-12)


def test_distances_in_chunks_are_those_of_all_pairs(monkeypatch):
    rng = np.random.default_rng(0)
    states, training = rng.normal(1000, 1, (50, 2, 2)), rng.normal(1000, 1, (30, 2, 2))
    monkeypatch.setattr("rl_il.diagnosis.measures.CHUNK", 100)
    pairs = np.linalg.norm((states[:, None] - training).reshape(50, 30, 4), axis=2)
    np.testing.assert_allclose(nearest_distances(states, training, np.ones(4)), pairs.min(axis=1))


@pytest.mark.parametrize(
    ("errors", "limit", "step", "diverges"),
    [
        ([0] * 12 + [1] * 6 + [0] * 9, 0.5, 12, True),  # the first window with six begins at 8, in agreement
        ([0] * 12 + [1] * 5 + [0] * 9, 0.5, 12, False),  # five of ten are no more than half: the worst window
        ([1, 0, 0, 0] * 3 + [1] * 10, 0.5, 8, True),  # steps 7 to 16 hold the first six, of which 8 is the first
        ([0, 1, 1], 0.5, 1, True),  # shorter than a window
        ([0, 0, 0], 0.5, 0, False),
        ([0.1] * 10 + [0.2, 0.9, 0.4] + [0.1] * 10, 0.2, 11, True),
        ([0.1] * 5 + [0.3] + [0.1] * 10, 9, 5, False),
    ],
)
def test_the_first_divergence(errors, limit, step, diverges):
    assert first_divergence(np.array(errors, float), limit) == (step, diverges)


def test_means_by_time():
    band = mean_by_time([np.array([1.0, 0, 1]), np.array([0.0, 0])], width=2)
    assert band.steps.tolist() == [0.5, 2.5]
    assert band.running.tolist() == [2, 1]
    assert band.middle.tolist() == [0.25, 1]
    assert (band.low[0], band.high[0]) == (0, 0.5)  # one episode twice, or the other
    assert np.isnan([band.low[1], band.high[1]]).all()  # one episode says nothing of its spread
    root = mean_by_time([np.array([4.0, 0, 9]), np.array([0.0, 0])], width=2, root=True)
    assert root.middle.tolist() == [1, 3]
    assert root.high[0] == 2**0.5


def test_the_interval_redraws_whole_episodes():
    same, other = np.ones(100), np.zeros(100)
    band = mean_by_time([same, same, other, other], width=100)
    assert (band.low[0], band.high[0]) == (0, 1)  # 200 steps of each kind, but only four episodes


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


def test_long_names_do_not_squash_the_pictures(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(pyplot, "close", figures.append)
    names = [f"a policy with rather a long name, number {i}" for i in range(4)]
    for drifts in ([drift("A", [9], 0.5)], [drift(name, [9], 0.5) for name in names]):
        draw_drift(tmp_path, "title", drifts, "words")
    monkeypatch.undo()
    few, many = ([axes.get_position().width for axes in figure.axes] for figure in figures)
    np.testing.assert_allclose(many, few, rtol=0.02)
    for figure in figures:
        pyplot.close(figure)


def test_bins_that_few_episodes_reach_are_not_drawn(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(pyplot, "close", figures.append)
    paths = draw_drift(
        tmp_path, "title", [drift("A", [10] * 28 + [20] * 2, 0.5), drift("B", [30] * 30, 0.25)], "words"
    )
    monkeypatch.undo()
    assert [path.name for path in paths] == FILES[:2]
    left, right = figures[0].axes
    solid = {line.get_label(): line.get_xdata() for line in left.get_lines() if line.get_linestyle() == "-"}
    assert [len(steps) for steps in solid.values()] == [10, 30]
    assert list(solid) == ["A", "B"]
    legends = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in (left, right)]
    assert legends == [["A", "B"], ["on states it visits itself", "on the expert's states"]]
    assert {line.get_ydata()[0] for line in left.get_lines()} == {0.5, 0.25}
    assert {line.get_ydata()[0] for line in right.get_lines()} == {1.5, 1.25}
    pyplot.close(figures[0])


@pytest.fixture
def undrawn(monkeypatch):
    """Leaves the pictures out, which take longest."""
    monkeypatch.setattr("rl_il.diagnosis.diagnose.draw_drift", lambda *_: [])
    monkeypatch.setattr("rl_il.diagnosis.diagnose.film_divergence", lambda *_: None)


# A corridor -----------------------------------------------------------------------------------------------


@pytest.fixture
def corridor(tmp_path, monkeypatch):
    """`corridor("Corridor-v0", 1)` diagnoses policies that always act so, beside the expert `StepModuloThree`, with
    one walk of four steps for demonstrations."""
    monkeypatch.setattr("rl_il.diagnosis.diagnose.load_expert", lambda *_: StepModuloThree())
    save_trajectories(tmp_path / "demos.npz", [walk(4)])

    def call(env_name: str = "Corridor-v0", *actions: int, episodes: int = 9, **kwargs):
        policies = [always(tmp_path, action) for action in actions]
        kwargs = {"demos": str(tmp_path / "demos.npz"), "out": tmp_path / "out"} | kwargs
        return diagnose(policies, env_name=env_name, episodes=episodes, **kwargs)

    return call


def always(folder: Path, action: int | list[float]) -> str:
    """The file of a policy that always does the same."""
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
    assert one.returns.tolist() == lengths and two.returns.tolist() == [2 * n for n in lengths]
    for drifted, agrees in ((one, 1), (two, 2)):
        for states in (drifted.own, drifted.experts):  # what is visited does not depend on the actions here
            assert [list(e) for e in states.errors] == [[float(t % 3 != agrees) for t in range(n)] for n in lengths]
            expected = [[np.hypot(max(0, t - 3) / np.std(range(4)), n - 4) for t in range(n)] for n in lengths]
            np.testing.assert_allclose(np.concatenate(states.distances), np.concatenate(expected), atol=1e-6)
            assert states.loss == states.disagreement(True) == np.concatenate(states.errors).mean()
    assert one.demonstrated.loss == 3 / 4  # of the walk's steps 0 to 3 only step 1
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
    written = (result.folder / "losses.md").read_text()
    assert result.table in written
    assert "the demonstrations alone for a training set: clone." in written
    assert "survivorship" in (result.folder / "drift.svg").read_text()


@pytest.fixture
def continuous_corridor(tmp_path, monkeypatch):
    """Diagnoses a policy that always wants to do [3, -1], beside an expert that does nothing."""
    save_trajectories(tmp_path / "demos.npz", [walk(4, acs=np.zeros((4, 2), np.float32))])
    monkeypatch.setattr("rl_il.diagnosis.diagnose.load_expert", lambda *_: ConstantActor(np.float32([0, 0])))
    policies, demos = [always(tmp_path, [3, -1])], str(tmp_path / "demos.npz")
    return lambda: diagnose(policies, env_name="CorridorContinuous-v0", episodes=3, demos=demos, out=tmp_path / "out")


def test_continuous_actions_are_compared_unclipped(continuous_corridor, undrawn):
    result = continuous_corridor()
    (drifted,) = result.drifts
    assert drifted.returns.tolist() == lengths_of(3)  # 1 a step: 3 was clipped
    assert {*np.concatenate(drifted.own.errors)} == {5.0}
    assert drifted.own.disagreement(discrete=False) == 5**0.5
    assert (drifted.loss_name, drifted.own.loss, drifted.demonstrated.loss) == ("mse", 5.0, 5.0)
    assert "2.236" in result.table


@pytest.mark.parametrize(("times", "words"), [(3, "No 10 steps pass"), (0.5, "It is the first step above 1.12")])
def test_a_continuous_divergence_is_several_times_the_distance_on_the_experts_states(
    continuous_corridor, monkeypatch, times, words
):
    monkeypatch.setattr("rl_il.diagnosis.diagnose.TIMES", times)  # of 2.236, which it is on all states
    assert words in strip_of(monkeypatch, continuous_corridor).caption


def strip_of(monkeypatch, corridor, *args, **kwargs):
    """The strip of frames of a diagnosis, before it is drawn."""
    strips = []
    monkeypatch.setattr("rl_il.diagnosis.diagnose.draw_drift", lambda *_: [])
    monkeypatch.setattr("rl_il.diagnosis.diagnose.draw_strip", lambda path, strip: strips.append(strip))
    corridor(*args, **kwargs)
    (strip,) = strips
    return strip


def test_the_strip_shows_the_median_episode_around_the_first_divergence(corridor, monkeypatch):
    monkeypatch.setattr("rl_il.diagnosis.diagnose.OFFSETS", (-3, 0, 1, 99))
    monkeypatch.setattr("rl_il.diagnosis.measures.WINDOW", 2)
    assert lengths_of(9) == [4, 5, 5, 4, 3, 4, 3, 6, 5]  # which are the returns too
    strip = strip_of(monkeypatch, corridor, "Corridor-v0", 1, 2)
    assert strip.name == "always_1"
    assert strip.step == 2  # it agrees at step 1, so steps 2 and 3 are the first two that differ
    assert list(strip.steps) == [0, 2, 3]
    assert [frame[0, 0, 0] for frame in strip.frames] == [0, 20, 30]
    assert strip.acs.tolist() == [1, 1, 1]
    assert strip.labels.tolist() == [0, 2, 0]
    assert "4.0 after 4 steps" in strip.caption and "First divergence: step 2." in strip.caption


def test_a_policy_that_never_diverges_is_shown_where_it_disagrees_most(corridor, monkeypatch):
    monkeypatch.setattr("rl_il.diagnosis.measures.WINDOW", 3)
    monkeypatch.setattr("rl_il.diagnosis.diagnose.load_expert", lambda *_: ConstantActor(1))
    assert "No 10 steps pass the limit" in strip_of(monkeypatch, corridor, "Corridor-v0", 1).caption


def test_a_machine_that_cannot_draw_is_told_so_and_gets_the_rest(corridor, capsys):
    result = corridor("BlindCorridor-v0", 1)
    assert [path.name for path in result.files] == FILES[:3]
    assert capsys.readouterr().err.count("note: no strip of frames: BlindCorridor-v0 cannot draw here") == 1


def test_an_episode_that_is_another_when_drawn_is_not_shown(corridor, monkeypatch, capsys):
    frames = np.zeros((3, 2, 2, 3), np.uint8)
    monkeypatch.setattr("rl_il.diagnosis.diagnose.frames_at", lambda *_: (frames, walk(2)))
    assert [path.name for path in corridor("Corridor-v0", 1).files] == FILES[:3]
    assert "gave another episode" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_bytes_in_a_folder_of_its_own(corridor, tmp_path):
    first, again, other = (corridor("Corridor-v0", 1, seed=seed) for seed in (3, 3, 4))
    assert [r.folder.name for r in (first, again, other)] == ["out", "out_2", "out_3"]
    for name in FILES:
        assert (first.folder / name).read_bytes() == (again.folder / name).read_bytes()
    assert (first.folder / "drift.png").read_bytes() != (other.folder / "drift.png").read_bytes()
    assert other.drifts[0].returns.tolist() == lengths_of(9, seed=4)


def test_ep_len_ends_episodes_early(corridor, undrawn):
    assert {*corridor("Corridor-v0", 1, ep_len=2).drifts[0].returns} == {2}


# A run folder ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dagger_run(tmp_path_factory):
    """The folder of a small DAgger run, and what its buffer held after each iteration."""
    held = []
    save = RLTrainer.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            RLTrainer,
            "save",
            lambda trainer, itr: (save(trainer, itr), held.append(trainer.buffer.obs.numpy().copy())),
        )
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
    return folder, config, held


@pytest.fixture(scope="module")
def run_diagnosis(dagger_run, tmp_path_factory):
    """The run's iteration 0 beside its latest, and the training sets that distances were taken from."""
    folder, _, _ = dagger_run
    trained_on = []

    def note(states, training_states, *rest):
        trained_on.append(training_states)
        return nearest_distances(states, training_states, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rl_il.diagnosis.diagnose.nearest_distances", note)
        out = tmp_path_factory.mktemp("out") / "out"
        result = diagnose([str(folder / "policy_itr_0.pt"), str(folder)], episodes=3, seed=1, out=out)
    return result, trained_on


def test_the_training_set_is_what_the_run_itself_held(dagger_run, run_diagnosis):
    _, _, held = dagger_run
    result, trained_on = run_diagnosis
    assert len(held[0]) < len(held[1]) < len(held[2])
    for states, expected in zip(trained_on, (held[0], held[0], held[2], held[2]), strict=True):
        np.testing.assert_array_equal(states, expected)
    assert [d.training_states for d in result.drifts] == [len(held[0]), len(held[2])]
    assert all(d.all_known for d in result.drifts)


def test_names_environment_expert_and_demonstrations_follow_from_the_run(dagger_run, run_diagnosis):
    folder, config, _ = dagger_run
    clone, last = run_diagnosis[0].drifts
    assert (clone.name, last.name) == ("BC", "DAgger, iteration 2")
    assert all(len(e) <= 90 for d in (clone, last) for e in (*d.own.errors, *d.experts.errors))  # the run's ep_len
    assert len(clone.own.errors) == len(clone.experts.errors) == 3
    env = make_env("LunarLander-v3")
    obs = np.concatenate([t.obs[:-1] for t in load_demonstrations(config, env)])
    labels = load_expert(None, env).get_action(obs)
    policy = MLPPolicySL.load(folder / "policy_itr_0.pt")
    logits = policy.network(policy.encode(policy.ob_mean.new_tensor(obs))).detach().double().numpy()
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(obs)), labels]
    assert clone.loss_name == "cross-entropy"
    assert clone.demonstrated.loss == pytest.approx(losses.mean(), rel=1e-4)
    assert clone.demonstrated.disagreement(True) == pytest.approx((logits.argmax(axis=1) != labels).mean())


def test_the_experts_states_are_those_of_its_own_episodes_from_the_same_starts(dagger_run, run_diagnosis):
    folder, _, _ = dagger_run
    env = make_env("LunarLander-v3")
    expert = load_expert(None, env)
    trajectories = list(sample_n_trajectories(env, expert, 3, stream(1, "evaluation"), 90))
    policy = MLPPolicySL.load(folder / "policy_itr_0.pt")
    clone, _ = run_diagnosis[0].drifts
    for trajectory, errors in zip(trajectories, clone.experts.errors, strict=True):
        assert errors.tolist() == (policy.get_action(trajectory.obs[:-1]) != trajectory.acs).tolist()


def test_workers_change_nothing(dagger_run, run_diagnosis, tmp_path):
    folder, _, _ = dagger_run
    policies = [str(folder / "policy_itr_0.pt"), str(folder)]
    again = diagnose(policies, episodes=3, seed=1, num_workers=2, out=tmp_path / "out")
    assert again.table == run_diagnosis[0].table
    for name in FILES:
        assert (again.folder / name).read_bytes() == (run_diagnosis[0].folder / name).read_bytes()


@pytest.fixture
def copied_run(dagger_run, tmp_path) -> Path:
    return Path(shutil.copytree(dagger_run[0], tmp_path / "copy"))


def test_a_run_that_comes_out_otherwise_here_is_noted(copied_run, tmp_path, capsys, undrawn):
    metrics = copied_run / "metrics.csv"
    header, *rows = [line.split(",") for line in metrics.read_text().splitlines()]
    rows[1][header.index("Train_EnvstepsSoFar")] = "12"
    metrics.write_text("\n".join(",".join(row) for row in (header, *rows)) + "\n")
    diagnose([str(copied_run / "policy_itr_1.pt")], episodes=1, out=tmp_path / "out")
    assert "note: DAgger, iteration 1: the run collected 12 steps" in capsys.readouterr().err


def test_a_checkpoint_outside_its_run_has_the_demonstrations_alone(copied_run, dagger_run, tmp_path, undrawn):
    lone = tmp_path / "policy_itr_2.pt"
    shutil.copy(copied_run / "policy_itr_2.pt", lone)
    result = diagnose([str(copied_run / "policy_itr_0.pt"), str(lone)], episodes=1, out=tmp_path / "out")
    clone, other = result.drifts
    assert (other.name, other.all_known, other.loss_name) == ("policy_itr_2", False, "cross-entropy")
    demonstrated = sum(map(len, load_demonstrations(dagger_run[1], make_env("LunarLander-v3"))))
    assert other.training_states == demonstrated > clone.training_states  # which lacks what was held out


def test_demonstrations_of_ones_own_keep_the_runs_choice_among_them(copied_run, dagger_run, tmp_path, undrawn):
    shipped = ENVS["LunarLander-v3"].demos_path
    save_trajectories(tmp_path / "few.npz", load_trajectories(shipped, make_env("LunarLander-v3"), n_demos=2))
    policy = str(copied_run / "policy_itr_0.pt")
    result = diagnose([policy], episodes=1, demos=str(tmp_path / "few.npz"), out=tmp_path / "out")
    env, lengths = make_env("LunarLander-v3"), []
    for path in (None, tmp_path / "few.npz"):
        (one,) = load_demonstrations(dataclasses.replace(dagger_run[1], expert_data=path), env)
        lengths.append(len(one))
    assert lengths[0] != lengths[1]
    assert [len(errors) for errors in result.drifts[0].demonstrated.errors] == lengths[1:]


# Mistakes -------------------------------------------------------------------------------------------------


def refused(message: str, *args, **kwargs) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(InputError, match=message):
        patch.setattr("rl_il.diagnosis.diagnose.sample_n_trajectories", lambda *_: pytest.fail("rolled out"))
        diagnose(*args, **kwargs)


def test_mistakes_are_named_before_anything_is_rolled_out(tmp_path, copied_run):
    kwargs = {"env_name": "LunarLander-v3", "out": tmp_path / "out"}
    clone, last = str(copied_run / "policy_itr_0.pt"), str(copied_run)
    refused("--env_name is missing", ["random"], out=tmp_path / "out")
    refused("nowhere.pt: no such file", ["nowhere.pt"], out=tmp_path / "out")
    refused("nowhere: no such file", ["nowhere"], **kwargs)
    refused("nowhere.npz: no such file", ["random"], expert="nowhere.npz", **kwargs)
    refused("nowhere.npz: no such file", ["random"], demos="nowhere.npz", **kwargs)
    refused("got 1 names for 2 policies", [clone, last], ["BC"], **kwargs)
    refused("called A, A; give each", [clone, last], ["A", "A"], **kwargs)
    refused("called BC, BC; give each", [clone, clone], **kwargs)
    refused(
        r"of one environment, got LunarLander-v3 \(.*copy\), Hopper-v5 \(--env_name\)", [last], env_name="Hopper-v5"
    )
    refused(
        "the expert answers only while an episode of CarRacing-v3 goes on",
        ["random"],
        env_name="CarRacing-v3",
        demos="any.npz",
    )
    refused("no demonstrations are shipped for CartPole-v1; give --demos", ["random"], env_name="CartPole-v1")
    refused("no expert is shipped for CartPole-v1", ["random"], env_name="CartPole-v1", demos="any.npz")
    refused("--seed must be 0 or more", ["random"], seed=-1, **kwargs)
    (copied_run / "policy_itr_1.pt").unlink()
    refused("policy_itr_1.pt: no such file, but it collected data for policy_itr_2.pt", [last], **kwargs)
    assert not (tmp_path / "out").exists()


def test_runs_of_two_environments_are_refused(copied_run, tmp_path):
    other = Path(shutil.copytree(copied_run, tmp_path / "other"))
    record = json.loads((other / "config.json").read_text())
    record["config"]["env_name"] = "Hopper-v5"
    (other / "config.json").write_text(json.dumps(record))
    refused(r"LunarLander-v3 \(.*copy\), Hopper-v5 \(.*other\)", [str(copied_run), str(other)], ["A", "B"])


def test_a_policy_that_reads_the_simulator_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("rl_il.diagnosis.diagnose.load_expert", lambda *_: ConstantActor([0, 0, 0], (96, 96, 3)))
    refused("car_driver answers only while an episode", ["car_driver"], env_name="CarRacing-v3", demos="any.npz")


def test_names_of_policies(dagger_run):
    folder, _, _ = dagger_run
    found = find_policies(
        [f"{folder}/policy_itr_0.pt", f"{folder}/policy_itr_1.pt", str(folder), "random", "hf:a/b/c.zip"]
    )
    assert [each.name for each in found] == ["BC", "DAgger, iteration 1", "DAgger, iteration 2", "random", "c"]
    assert [each.itr for each in found[:3]] == [0, 1, 2]
    assert dataclasses.asdict(found[4])["run"] is None


# The script -----------------------------------------------------------------------------------------------


def call(monkeypatch, capsys, *args: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *args])
    status = 0
    try:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    except SystemExit as end:
        status = end.code or 0
    return status, *capsys.readouterr()


def test_the_script_prints_the_table_and_the_files(copied_run, tmp_path, monkeypatch, capsys):
    policies = [str(copied_run / "policy_itr_0.pt"), str(copied_run)]
    args = ["--policy", *policies, "--names", "BC", "DAgger", "--episodes", "1", "--out", str(tmp_path / "new")]
    status, out, err = call(monkeypatch, capsys, *args)
    assert (status, err) == (0, "")
    assert out.splitlines()[0].split() == ["|", "|", "BC", "|", "DAgger", "|"]
    assert out.split()[-4:] == [str(tmp_path / "new" / name) for name in FILES]


def test_a_mistake_ends_the_script_with_one_sentence(monkeypatch, capsys):
    status, out, err = call(monkeypatch, capsys, "--policy", "nowhere.pt")
    assert (status, out) == (2, "")
    assert err == "error: nowhere.pt: no such file\n"

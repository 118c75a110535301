"""Driving from pictures on a small scale: the table, the figures, and what is not made again."""

import json
from dataclasses import replace

import imageio.v3 as imageio
import numpy as np
import pytest

from rl_il.config import RunConfig
from rl_il.envs import lap_finished
from rl_il.errors import InputError
from rl_il.report.runs import read_run
from rl_il.report.tables import Result
from rl_il.report.track import Drive, outline
from rl_il.runs.evaluate import evaluate
from rl_il.studies import pixels
from rl_il.studies.pixels import run_pixels
from rl_il.types import Trajectory

LAPS = (1, 2)
TINY = RunConfig(
    env_name="CarRacing-v3",
    do_dagger=True,
    n_iter=2,
    batch_episodes=1,
    num_agent_train_steps_per_iter=3,
    train_batch_size=4,
    eval_episodes=2,
    ep_len=12,
    video_log_freq=-1,
    augment="shift,brightness,flip_steer",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("pixels") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "TRACKS_TO_TRY", 1)
        patch.setattr(pixels, "SHOWN_FRAMES", 2)
        return out, run_pixels(LAPS, TINY, out, seed=3, num_workers=1)


def test_the_table_has_every_policy_and_the_expert(made):
    out, table = made
    text = (out / "table.md").read_text()
    assert text.startswith(table + "\n\n") and "nan" not in text.lower()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    names = ["BC, 1 lap", "BC, 2 laps", "DAgger, iteration 1", "expert, same episodes (2 laps)"]
    assert [row[0] for row in rows[2:]] == names
    returns = np.loadtxt(out / "bc_1" / "episodes.csv", delimiter=",", skiprows=1, usecols=3)[-2:]
    assert rows[2][1] == f"{returns.mean():.0f}"
    assert [row[4] for row in rows[2:]] == ["0 of 2"] * 3 + [""]
    assert [row[6] for row in rows[2:]] == ["12", "24", "36", ""]  # each lap is cut off after 12 steps


def test_all_policies_drive_the_same_tracks(made):
    out, _ = made
    for folder, itr in (("bc_1", 0), ("dagger", 0), ("dagger", 1)):
        policy = str(out / folder / f"policy_itr_{itr}.pt")
        driven = evaluate(policy, TINY.env_name, TINY.eval_episodes, seed=3, ep_len=TINY.ep_len)
        assert driven["mean"] == read_run(out / folder).scores[itr].mean()
    assert (read_run(out / "bc_1").expert.scores == read_run(out / "dagger").expert.scores).all()


def test_the_caption_says_that_all_drove_the_same_tracks():
    results = [(Result("BC", [np.zeros(2)]), "0 of 2"), (Result("expert", [np.zeros(2)]), "")]
    assert "same 2 " in pixels.make_caption(TINY, results)


def test_dagger_is_labelled_while_the_learner_drives(made):
    out, _ = made
    summary = json.loads((out / "dagger" / "summary.json").read_text())
    assert (summary["expert_labels"], summary["env_steps"]) == (36, 12)
    assert "Eval_SuccessRate" in (out / "dagger" / "metrics.csv").read_text().splitlines()[0]


def test_the_pictures_are_drawn_and_the_policy_is_the_last(made):
    out, _ = made
    assert imageio.imread(out / "results.png").shape[1] > 1000
    assert imageio.imread(out / "track.png").shape[1] > 900
    frames = imageio.imread(out / "drive.gif", index=None)
    assert 1 < len(frames) < 5 and frames.shape[2] == 600  # every other one of 6; two pictures of 300 side by side
    assert (out / "policy.pt").read_bytes() == (out / "dagger" / "policy_itr_1.pt").read_bytes()


def test_what_is_there_is_not_made_again(made, monkeypatch):
    out, table = made
    for name in ("run", "resume", "record_demos"):
        monkeypatch.setattr(pixels, name, lambda *_, **__: pytest.fail("made again"))
    monkeypatch.setattr(pixels, "show_drives", lambda *_: None)
    assert run_pixels(LAPS, TINY, out, seed=3, num_workers=2) == table


def test_a_run_that_was_stopped_goes_on(made, monkeypatch):
    out, _ = made
    went_on = []
    monkeypatch.setattr(pixels, "is_finished", lambda folder: folder.name != "dagger")
    monkeypatch.setattr(pixels, "resume", lambda *args, **kwargs: went_on.append((args, kwargs)))
    monkeypatch.setattr(pixels, "show_drives", lambda *_: None)
    run_pixels(LAPS, TINY, out, seed=3, num_workers=1)
    assert went_on == [((out / "dagger", 1), {"keep_data": False})]
    assert not (out / "dagger" / "data").exists()


def test_a_folder_with_another_experiment_is_refused(made):
    out, _ = made
    other = replace(TINY, learning_rate=1e-4)
    with pytest.raises(InputError, match=r"dagger.*--out"):
        run_pixels(LAPS, other, out, seed=3, num_workers=1)


def test_a_lap_is_finished_at_its_end_and_not_outside_the_field():
    def episode(last_reward, **ends):
        obs = np.zeros((3, 1), np.uint8)
        return Trajectory(obs, np.zeros((2, 3), np.float32), np.array([0.0, last_reward]), **ends)

    assert lap_finished(episode(3.0, terminated=True))
    assert not lap_finished(episode(-100.0, terminated=True))
    assert not lap_finished(episode(3.0, truncated=True))


def test_a_car_is_off_the_road_beyond_half_its_width():
    centre = np.stack([np.arange(0, 101, 1.0), np.zeros(101)], axis=1)
    path = np.array([[10, 0], [20, 6.6], [30, 6.7], [40, -7.5]])
    trajectory = Trajectory(np.zeros((5, 1)), np.zeros(4, int), np.zeros(4))
    assert Drive(trajectory, path, centre).off_road.tolist() == [False, False, True, True]


def test_the_edges_are_parallel_to_the_centre():
    angles = np.linspace(0, 2 * np.pi, 721)
    circle = 50 * np.stack([np.cos(angles), np.sin(angles)], axis=1)  # anticlockwise: the right is outside
    for offset, radius in ((5, 55), (-5, 45)):
        np.testing.assert_allclose(np.hypot(*outline(circle, offset)), radius, rtol=1e-4)

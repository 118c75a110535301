"""The studies of heads on a small scale: the tables, the pictures, and what is not made again."""

from contextlib import closing
from dataclasses import replace

import imageio.v3 as imageio
import numpy as np
import pytest
from calling import assert_refused, call_script
from run_folders import dicts

from rl_il.envs import env_of
from rl_il.experts.bird_pilot import BirdPilot
from rl_il.report.runs import read_run
from rl_il.runs.evaluate import record_demos
from rl_il.studies import heads
from rl_il.studies.ablation import sweep
from rl_il.studies.ablation.jobs import step_times
from rl_il.studies.replay import begin_at
from rl_il.types import Actor

SHORT = {"num_agent_train_steps_per_iter": 20, "size": 16, "ep_len": 45, "compile": "off"}
BIRD = replace(heads.BIRD, n_iter=2, batch_size=50, eval_episodes=2, **SHORT)


@pytest.fixture(scope="module")
def bird(tmp_path_factory):
    out = tmp_path_factory.mktemp("heads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads, "BIRD_DEMOS", 2)
        assert heads.study_bird(out, out / "runs", n_seeds=1, processes=2, settings=BIRD)
    return out


def rows_of(path) -> list[dict[str, str]]:
    lines = path.read_text().split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return dicts([cells[0], *cells[2:]])


def test_the_birds_table_has_each_mode_algorithm_and_head(bird):
    rows = {row["bird"]: row for row in rows_of(bird / "bird.md")}
    modes, algorithms = (("easy", "Bird-v0"), ("hard", "BirdHard-v0")), (("BC", 0), ("DAgger", 1))
    named = [(m, a, h) for m in modes for a in algorithms for h in heads.HEADS.items()]
    assert list(rows) == [f"{mode}, {algorithm}, {name}" for (mode, _), (algorithm, _), (_, name) in named]
    for (mode, env_name), (algorithm, itr), (head, name) in named:
        run = read_run(bird / f"runs/{env_name}/runs/head={head}/seed_1")
        row = rows[f"{mode}, {algorithm}, {name}"]
        mean, expert = run.scores[itr].mean(), run.expert.scores.mean()
        assert row["mean return"] == f"{mean:.1f}" and row["expert, same episodes"] == f"{expert:.1f}" == "45.0"
        assert row["% of expert"] == f"{100 * mean / expert:.1f}"
        assert row["expert labels"] == f"{run.metrics[itr]['Expert_LabelsSoFar']:,.0f}"


def test_the_birds_figure_is_a_small_picture(bird):
    assert imageio.imread(bird / "bird.png").shape[1] > 1000
    assert (bird / "bird.png").stat().st_size < 80_000


def test_finished_runs_are_not_made_again(bird, monkeypatch):
    before = (bird / "bird.md").read_text()
    monkeypatch.setattr(heads, "record_demos", lambda *_, **__: pytest.fail("recorded again"))
    monkeypatch.setattr(sweep, "train", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(heads, "BIRD_DEMOS", 2)
    assert heads.study_bird(bird, bird / "runs", n_seeds=1, processes=1, settings=BIRD)
    assert (bird / "bird.md").read_text() == before


def test_the_expert_has_two_plans_between_two_gaps():
    drawn = heads.plans(BirdPilot((4,)), heads.TWO_GAPS, chunk=3)
    assert drawn.shape == (heads.DRAWN, 3)
    # Each step goes a fifth of the way from 0.5 to 0.22 or to 0.78.
    expected = [[0.444, 0.3992, 0.36336], [0.556, 0.6008, 0.63664]]
    np.testing.assert_allclose(np.unique(drawn, axis=0), expected, atol=1e-6)


@pytest.mark.parametrize("flags", ["--tuned", "--demos pusht.zip", "--demos pusht.zip --tuned"])
def test_flags_of_push_t_are_refused_for_the_bird(tmp_path, monkeypatch, capsys, flags):
    monkeypatch.setattr(heads, "study_bird", lambda *_, **__: pytest.fail("begun"))
    called = call_script(f"heads bird {flags} --out {tmp_path / 'out'}", monkeypatch, capsys)
    assert_refused(called, flags.split()[-1] if flags.endswith("--tuned") else "--demos", "pusht")


def test_time_is_estimated_for_windows_too(bird):
    demos = str(bird / "runs/BirdHard-v0.npz")
    for settings in ({"chunk": 3}, {"chunk": 2, "history": 2}, {"head": "flow"}):
        config = replace(BIRD, env_name="BirdHard-v0", expert_data=demos, **settings)
        assert all(0 < seconds < 1 for seconds in step_times(config))


class Still(Actor):
    """An actor of Push-T that moves to one place."""

    ob_shape = (5,)

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        return np.full((*obs.shape[:-1], 2), 300, np.float32)


@pytest.mark.pusht
def test_push_ts_table_and_gif(tmp_path):
    demos = tmp_path / "demos.npz"
    record_demos("gym_pusht/PushT-v0", demos, f"{__name__}:Still", n_demos=3, ep_len=30)
    short = SHORT | {"eval_seeds": "0:2"}
    course, tuned = (replace(config, **short) for config in (heads.COURSE, heads.TUNED))
    assert heads.study_pusht(tmp_path, tmp_path / "runs", demos, 1, 2, course, tuned)
    rows = {row["policy"]: row for row in rows_of(tmp_path / "pusht.md")}
    assert list(rows) == ["mse", "mixture", "flow", "mixture, tuned", "demonstrations, replayed"]
    for name, folder in (("flow", "course/runs/head=flow"), ("mixture, tuned", "tuned/runs/head=mixture")):
        assert rows[name]["mean score"] == f"{read_run(tmp_path / f'runs/{folder}/seed_1').scores[0].mean():.3f}"
    assert rows["demonstrations, replayed"]["episodes"] == "3"
    frames = imageio.imread(tmp_path / "pusht.gif", index=None)
    assert frames.shape[1:] == (340, 340, 3)  # of a GIF, equal frames in a row are one


@pytest.mark.pusht
def test_push_t_begins_at_a_demonstrations_state():
    with closing(env_of(heads.COURSE)) as env:
        first, _ = env.reset(seed=3)
        obs = [env.step(np.array([300, 200], np.float32))[0] for _ in range(20)]
        env.reset(seed=4)
        begin_at(env, first.tolist())
        again = [env.step(np.array([300, 200], np.float32))[0] for _ in range(20)]
    np.testing.assert_allclose(again, obs, atol=0.1)

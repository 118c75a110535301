"""Measuring a policy and recording an expert, in a corridor whose returns can be worked out by hand."""

import itertools
import json
import multiprocessing

import gymnasium as gym
import numpy as np
import pytest
from calling import assert_refused, call_script
from fakes import Corridor, corridor_length
from small_runs import corridor

from rl_il.config import RunConfig
from rl_il.datasets import load_trajectories
from rl_il.datasets.npz import read_meta, read_npz
from rl_il.envs import ENVS, EnvRow, make_env
from rl_il.errors import InputError
from rl_il.files import REPOSITORY
from rl_il.policies.actors import ScriptedActor
from rl_il.report.tables import markdown
from rl_il.runs.evaluate import (
    EXPERT_COLUMNS,
    INTERVAL,
    demos_table,
    evaluate,
    evaluate_experts,
    expert_row,
    record_demos,
    recording_command,
    result_rows,
    task_of,
)
from rl_il.runs.experiment import run
from rl_il.seeding import episode_seeds, stream
from rl_il.statistics import MIN_EPISODES, bootstrap_interval

NUMBERS = "mean std iqm ci95_low ci95_high min max mean_episode_length".split()


@pytest.fixture
def always(tmp_path):
    """Write an expert that always takes one discrete action: `always(2)`."""

    def write(action: int, env_name: str = "Corridor-v0") -> str:
        env = make_env(env_name)
        n_obs, n_acs = env.observation_space.shape[0], int(env.action_space.n)
        meta = json.dumps({"activation": "tanh", "output": "argmax"})
        path = tmp_path / f"always_{action}.npz"
        np.savez(path, w0=np.zeros((n_obs, n_acs)), b0=np.eye(n_acs)[action], meta=np.array(meta))
        return str(path)

    return write


def lengths_of(purpose: str, seed: int, episodes: int) -> np.ndarray:
    """Return the corridor's length in each of the first episodes."""
    return np.array([corridor_length(s) for s in itertools.islice(episode_seeds(stream(seed, purpose)), episodes)])


def test_the_numbers_are_those_worked_out_by_hand(always):
    lengths = lengths_of("evaluation", 5, 9)
    returns = np.sort(2.0 * lengths)
    assert returns[0] < returns[-1]
    result = evaluate(always(2), "Corridor-v0", episodes=9, seed=5)
    low, high = bootstrap_interval([2.0 * lengths])
    expected = {
        "mean": returns.sum() / 9,
        "std": np.sqrt(((returns - returns.sum() / 9) ** 2).sum() / 8),
        "iqm": returns[2:7].sum() / 5,
        "ci95_low": low,
        "ci95_high": high,
        "min": returns[0],
        "max": returns[-1],
        "mean_episode_length": lengths.sum() / 9,
    }
    assert {name: result[name] for name in NUMBERS} == pytest.approx(expected)
    assert (result["episodes"], result["env_name"], result["seed"]) == (9, "Corridor-v0", 5)


def test_a_few_episodes_have_no_interval_and_one_no_std(always):
    few, one = (dict(result_rows(evaluate(always(2), "Corridor-v0", episodes=n))) for n in (4, 1))
    assert few[INTERVAL] == one[INTERVAL] == f"needs {MIN_EPISODES} episodes"
    assert "std" in few and "std" not in one
    row = dict(zip(EXPERT_COLUMNS, expert_row(evaluate("random", "Corridor-v0", 1) | {"expert": "x"}), strict=True))
    assert (row["std"], row["episodes"]) == ("", "1")


def write_run_of(env_name: str, folder, key: str = "config") -> None:
    folder.mkdir(parents=True)
    (folder / "policy_itr_3.pt").touch()
    (folder / "config.json").write_text(
        json.dumps({key: {"env_name": env_name} | ({"ep_len": 5} if key == "config" else {})})
    )


def test_a_run_is_measured_in_its_own_environment(tmp_path):
    write_run_of("Corridor-v0", tmp_path / "run")
    write_run_of("MountainCar-v0", tmp_path / "lesson", key="teaching")
    assert task_of(str(tmp_path / "run")) == RunConfig(env_name="Corridor-v0", ep_len=5)
    assert task_of(str(tmp_path / "run" / "policy_itr_3.pt")) == RunConfig(env_name="Corridor-v0", ep_len=5)
    assert task_of(str(tmp_path / "lesson")) == RunConfig(env_name="MountainCar-v0")
    assert task_of("car_driver") == RunConfig(env_name="CarRacing-v3")
    assert task_of("random") == RunConfig(env_name="LunarLander-v3")


@pytest.mark.parametrize("record", [None, {}, {"config": {"env_name": 3}}, {"config": "x"}])
def test_an_environment_that_is_not_known_is_asked_for(tmp_path, record):
    if record is not None:
        (tmp_path / "config.json").write_text(json.dumps(record))
    (tmp_path / "policy.npz").touch()
    with pytest.raises(InputError, match="--env_name"):
        task_of(str(tmp_path / "policy.npz"))
    with pytest.raises(InputError, match=r"nowhere\.npz"):
        task_of(str(tmp_path / "nowhere.npz"))


def test_the_command_takes_the_newest_run_and_its_environment(always, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RL_IL_DATA", str(tmp_path / "data"))
    config = corridor(tmp_path / "files", do_dagger=False, n_iter=1, logdir=str(tmp_path / "data" / "run"))
    run(config, verbose=False)
    status, out, err = call_script("evaluate --policy latest --episodes 2 --json", monkeypatch, capsys)
    assert status == 0
    result = json.loads(out)
    assert (result["env_name"], result["policy"]) == ("Corridor-v0", str(tmp_path / "data" / "run"))
    assert str(tmp_path / "data" / "run") in err
    assert_refused(call_script(f"evaluate --policy {always(1)}", monkeypatch, capsys), "--env_name")


def test_ep_len_ends_episodes_early(always):
    result = evaluate(always(1), "Corridor-v0", episodes=8, seed=0, ep_len=4)
    assert result["max"] == 4
    assert result["mean_episode_length"] == np.minimum(lengths_of("evaluation", 0, 8), 4).mean()
    assert evaluate("random", "EndlessCorridor-v0", episodes=1, ep_len=7)["mean_episode_length"] == 7


@pytest.mark.parametrize("env_name", ["LunarLander-v3", "fakes:TimedCorridor-v0"])  # one that a package registers
def test_the_number_of_workers_changes_nothing(env_name):
    alone = evaluate("random", env_name, episodes=5, seed=3)
    assert evaluate("random", env_name, episodes=5, seed=3, num_workers=2) == alone
    assert evaluate("random", env_name, episodes=5, seed=4)["mean"] != alone["mean"]
    assert multiprocessing.active_children() == []


def test_a_video_is_written_and_changes_no_number(always, tmp_path):
    path = tmp_path / "new" / "video.gif"
    policy = always(1)
    with_video = evaluate(policy, "Corridor-v0", episodes=5, video=str(path))
    assert path.read_bytes()[:6] == b"GIF89a"
    assert with_video.pop("video") == str(path)
    assert with_video == evaluate(policy, "Corridor-v0", episodes=5)


@pytest.mark.parametrize(
    ("policy", "env_name", "settings", "message"),
    [
        ("nowhere.pt", "Corridor-v0", {}, "nowhere.pt"),
        ("expert", "Corridor-v0", {}, "Corridor-v0"),
        ("velocity_rule", "Corridor-v0", {}, "velocity_rule"),
        ("expert", "MountanCar-v0", {}, "MountainCar-v0"),
        ("random", "Corridor-v0", {"video": "film"}, "film"),
        ("random", "Corridor-v0", {"seed": -1}, "seed"),
        ("random", "EndlessCorridor-v0", {}, "--ep_len"),
    ],
)
def test_a_mistake_is_named_before_the_rollouts(monkeypatch, policy, env_name, settings, message):
    monkeypatch.setattr(Corridor, "step", lambda *_: pytest.fail("rolled out"))
    with pytest.raises(InputError, match=message):
        evaluate(policy, env_name, episodes=1, **settings)


def test_every_expert_is_measured_in_each_of_its_environments(monkeypatch):
    def measured(policy, env_name, episodes, seed, num_workers, eval_seeds):
        return dict.fromkeys(NUMBERS, 1.25) | {"policy": policy, "env_name": env_name, "episodes": episodes}

    monkeypatch.setattr("rl_il.runs.evaluate.evaluate", measured)
    monkeypatch.setitem(ENVS, "Corridor-v0", EnvRow())  # without an expert: left out
    results = list(evaluate_experts(7))
    measured = {(r["policy"], r["env_name"], r["expert"]) for r in results}
    assert measured >= {
        ("expert", "LunarLander-v3", "LunarLander-v3.npz"),
        ("two_parabola_rule", "MountainCar-v0", "two_parabola_rule"),
        ("car_driver", "CarRacing-v3", "car_driver"),
        ("expert", "Ant-v4", "Ant-v5.npz"),
    }
    assert "Corridor-v0" not in {env_name for _, env_name, _ in measured}
    assert {r["episodes"] for r in results} == {7}
    row = dict(zip(EXPERT_COLUMNS, expert_row(results[0]), strict=True))
    assert row["environment"] == "LunarLander-v3"
    assert (row["mean return"], row[INTERVAL], row["episodes"]) == ("1.2", "1.2 to 1.2", "7")


def test_the_demos_table_has_the_command_that_made_each_file(always, tmp_path):
    (tmp_path / "demos").mkdir()
    policy = always(2)
    record_demos("Corridor-v0", tmp_path / "demos" / "a.npz", policy, n_demos=3, min_return=1.5, seed=4, ep_len=2)
    header, row = demos_table(tmp_path / "demos")
    lengths = np.minimum(lengths_of("demonstrations", 4, 3), 2)
    returns = [f"{number:.1f}" for number in (2 * lengths.mean(), 2 * lengths.min(), 2 * lengths.max())]
    size = f"{(tmp_path / 'demos' / 'a.npz').stat().st_size / 1e6:.1f}"
    made_by = f"`record_demos.py --env_name Corridor-v0 --policy {policy} --n_demos 3 --min_return 1.5"
    made_by += " --ep_len 2 --seed 4`"
    assert header == ["file", "episodes", "steps", "mean return", "min", "max", "MB", "made by"]
    assert row == ["a.npz", "3", str(lengths.sum()), *returns, size, made_by]


def test_the_shipped_demonstrations_are_what_their_readme_says():
    assert markdown(demos_table()) in (REPOSITORY / "data" / "README.md").read_text()
    sizes = {path.stem: path.stat().st_size for path in (REPOSITORY / "data" / "demos").iterdir()}
    assert sizes.pop("CarRacing-v3") < 5e6  # three laps of pictures
    assert max(sizes.values()) < 2e6


# Recording ------------------------------------------------------------------------------------------------


def test_recording_keeps_the_first_episodes_and_reads_back_equal(always, tmp_path):
    out = tmp_path / "demos.npz"
    kept, thrown_away = record_demos("Corridor-v0", out, always(1), n_demos=4, seed=2)
    assert thrown_away == 0
    assert [len(trajectory) for trajectory in kept] == list(lengths_of("demonstrations", 2, 4))
    for ours, theirs in zip(kept, load_trajectories(out, gym.make("Corridor-v0")), strict=True):
        np.testing.assert_array_equal(ours.obs, theirs.obs)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_episodes_below_min_return_are_thrown_away_and_counted(always, tmp_path, num_workers):
    lengths = lengths_of("demonstrations", 0, 100)
    good = np.flatnonzero(lengths >= 5)[:6]
    assert good[-1] > 5  # some episodes before it are shorter
    settings = {"n_demos": 6, "min_return": 5, "num_workers": num_workers}
    kept, thrown_away = record_demos("fakes:Corridor-v0", tmp_path / "demos.npz", always(1), **settings)
    assert [len(trajectory) for trajectory in kept] == list(lengths[good])
    assert thrown_away == good[-1] + 1 - 6
    meta = json.loads(str(np.load(tmp_path / "demos.npz")["meta"]))
    assert meta["thrown_away"] == thrown_away
    assert meta["min_return"] == 5
    assert (meta["env_name"], meta["policy"], meta["seed"]) == ("fakes:Corridor-v0", always(1), 0)


def test_a_min_return_out_of_reach_writes_nothing(always, tmp_path):
    (tmp_path / "out").mkdir()
    best = int(lengths_of("demonstrations", 0, 60).max())
    with pytest.raises(InputError, match=rf"--min_return 9.* 0 of 60 .*best {best}\.0"):
        record_demos("Corridor-v0", tmp_path / "out/demos.npz", always(1), n_demos=3, min_return=9)
    assert list((tmp_path / "out").iterdir()) == []


def test_unclipped_labels_and_clipped_actions_are_both_recorded(tmp_path, monkeypatch):
    wild = ScriptedActor(lambda obs: np.tile(np.float32([3, -1]), (len(obs), 1)), (2,))
    monkeypatch.setattr("rl_il.runs.evaluate.load_actor", lambda *_: wild)
    record_demos("CorridorContinuous-v0", tmp_path / "demos.npz", n_demos=2)
    for trajectory in load_trajectories(tmp_path / "demos.npz", gym.make("CorridorContinuous-v0")):
        assert (trajectory.labels == np.float32([3, -1])).all()
        assert (trajectory.acs == np.float32([1, -1])).all()
        assert trajectory.episode_return == len(trajectory)


@pytest.mark.parametrize("name", ["demos.txt", "occupied.npz"])
def test_a_file_that_cannot_be_written_is_refused_first(always, tmp_path, monkeypatch, name):
    (tmp_path / "occupied.npz").mkdir()
    policy = always(1)
    monkeypatch.setattr("rl_il.runs.evaluate.begin_episodes", lambda *_: pytest.fail("rolled out"))
    with pytest.raises(InputError, match=name):
        record_demos("Corridor-v0", tmp_path / name, policy, n_demos=1)


def test_recording_keeps_the_arguments_of_the_environment(tmp_path):
    flags = {"env_kwargs": "endless=True", "wrappers": "gymnasium.wrappers:TimeAwareObservation", "ep_len": 9}
    kept, _ = record_demos("Corridor-v0", tmp_path / "demos.npz", "random", n_demos=1, **flags)
    assert (len(kept[0]), kept[0].obs.shape[1]) == (9, 3)
    command = recording_command(read_meta(read_npz(tmp_path / "demos.npz")), 1)
    assert "--env_kwargs endless=True --wrappers gymnasium.wrappers:TimeAwareObservation" in command


def test_the_command_takes_arguments_and_wrappers(monkeypatch, capsys):
    flags = "--policy random --env_name Corridor-v0 --episodes 2 --ep_len 9 --json"
    words = "--env_kwargs endless=true continuous=true --wrappers gymnasium.wrappers:TimeAwareObservation"
    status, out, _ = call_script(f"evaluate {flags} {words}", monkeypatch, capsys)
    result = json.loads(out)
    assert (status, result["mean_episode_length"]) == (0, 9)
    assert result["env_kwargs"] == "endless=True continuous=True"
    assert_refused(
        call_script(f"evaluate {flags} --env_kwargs endles=true", monkeypatch, capsys), "endles", "endless"
    )

"""Measuring a policy and recording an expert, on a corridor whose returns can be worked out by hand."""

import itertools
import json
import multiprocessing

import gymnasium as gym
import numpy as np
import pytest
from fakes import corridor_length

from rl_il.datasets import load_trajectories
from rl_il.envs import EnvSpec, make_env
from rl_il.errors import InputError
from rl_il.evaluation import EXPERT_COLUMNS, demos_table, evaluate, evaluate_experts, expert_row, record_demos
from rl_il.files import REPOSITORY
from rl_il.infrastructure.seeding import episode_seeds, stream
from rl_il.infrastructure.workers import RolloutWorkers
from rl_il.policies.actors import ScriptedActor
from rl_il.report.tables import markdown
from rl_il.statistics import bootstrap_interval

NUMBERS = "mean std iqm ci95_low ci95_high min max mean_episode_length".split()


@pytest.fixture
def always(tmp_path):
    """Writes an expert that always takes one discrete action: `always(2)`."""

    def write(action: int, env_name: str = "Corridor-v0") -> str:
        env = make_env(env_name)
        n_obs, n_acs = env.observation_space.shape[0], int(env.action_space.n)
        meta = json.dumps({"activation": "tanh", "output": "argmax"})
        path = tmp_path / f"always_{action}.npz"
        np.savez(path, w0=np.zeros((n_obs, n_acs)), b0=np.eye(n_acs)[action], meta=np.array(meta))
        return str(path)

    return write


def lengths_of(purpose: str, seed: int, episodes: int) -> np.ndarray:
    """How long the corridor is in each of the first episodes."""
    return np.array([corridor_length(s) for s in itertools.islice(episode_seeds(stream(seed, purpose)), episodes)])


def test_the_numbers_are_those_worked_out_by_hand(always):
    lengths = lengths_of("evaluation", 5, 9)
    returns = np.sort(2.0 * lengths)
    assert returns[0] < returns[-1]
    result = evaluate(always(2), "Corridor-v0", episodes=9, seed=5)
    low, high = bootstrap_interval([2.0 * lengths])
    expected = {
        "mean": returns.sum() / 9,
        "std": np.sqrt(((returns - returns.sum() / 9) ** 2).sum() / 9),
        "iqm": returns[2:7].sum() / 5,
        "ci95_low": low,
        "ci95_high": high,
        "min": returns[0],
        "max": returns[-1],
        "mean_episode_length": lengths.sum() / 9,
    }
    assert {name: result[name] for name in NUMBERS} == pytest.approx(expected)
    assert (result["episodes"], result["env_name"], result["seed"]) == (9, "Corridor-v0", 5)


def test_ep_len_ends_episodes_early(always):
    result = evaluate(always(1), "Corridor-v0", episodes=8, seed=0, ep_len=4)
    assert result["max"] == 4
    assert result["mean_episode_length"] == np.minimum(lengths_of("evaluation", 0, 8), 4).mean()


def test_one_seed_gives_one_result_and_another_seed_another():
    random = [evaluate("random", "Corridor-v0", 20, seed=seed)["mean"] for seed in (0, 0, 1)]
    assert random[0] == random[1] != random[2]


def test_the_number_of_workers_changes_nothing():
    alone = evaluate("random", "LunarLander-v3", episodes=5, seed=3)
    assert evaluate("random", "LunarLander-v3", episodes=5, seed=3, num_workers=2) == alone
    assert multiprocessing.active_children() == []


def test_a_video_is_written_and_changes_no_number(always, tmp_path):
    path = tmp_path / "new" / "video.gif"
    policy = always(1)
    with_video = evaluate(policy, "Corridor-v0", episodes=4, video=str(path))
    assert path.read_bytes()[:6] == b"GIF89a"
    assert with_video.pop("video") == str(path)
    assert with_video == evaluate(policy, "Corridor-v0", episodes=4)


@pytest.mark.parametrize(
    ("policy", "env_name", "video", "message"),
    [
        ("nowhere.pt", "Corridor-v0", None, "nowhere.pt: no such file"),
        ("expert", "Corridor-v0", None, "no expert is shipped"),
        ("velocity_rule", "Corridor-v0", None, "is for MountainCar-v0"),
        ("expert", "MountanCar-v0", None, "MountainCar-v0"),
        ("random", "Corridor-v0", "video", "must end in .gif or .mp4"),
    ],
)
def test_a_mistake_is_named_before_anything_is_rolled_out(monkeypatch, policy, env_name, video, message):
    monkeypatch.setattr("rl_il.infrastructure.rollouts.sample_trajectory", lambda *_: pytest.fail("rolled out"))
    with pytest.raises(InputError, match=message):
        evaluate(policy, env_name, episodes=1, video=video)


def test_an_environment_that_never_ends_an_episode_needs_ep_len():
    with pytest.raises(InputError, match="--ep_len"):
        evaluate("random", "EndlessCorridor-v0", episodes=1)
    assert evaluate("random", "EndlessCorridor-v0", episodes=1, ep_len=7)["mean_episode_length"] == 7


def test_a_negative_seed_is_refused():
    with pytest.raises(InputError, match="seed"):
        evaluate("random", "Corridor-v0", episodes=1, seed=-1)


def test_every_expert_is_measured_in_each_of_its_environments(monkeypatch):
    def measured(policy, env_name, episodes, seed, num_workers):
        return dict.fromkeys(NUMBERS, 1.25) | {"policy": policy, "env_name": env_name, "episodes": episodes}

    monkeypatch.setattr("rl_il.evaluation.evaluate", measured)
    results = list(evaluate_experts(7))
    assert {(r["policy"], r["env_name"], r["expert"]) for r in results} >= {
        ("expert", "LunarLander-v3", "LunarLander-v3.npz"),
        ("velocity_rule", "MountainCar-v0", "velocity_rule"),
        ("two_parabola_rule", "MountainCar-v0", "two_parabola_rule"),
        ("car_driver", "CarRacing-v3", "car_driver"),
        ("expert", "Ant-v4", "Ant-v5.npz"),
    }
    assert {r["episodes"] for r in results} == {7}
    row = dict(zip(EXPERT_COLUMNS, expert_row(results[0]), strict=True))
    assert row["environment"] == "LunarLander-v3"
    assert (row["mean return"], row["95 % interval"], row["episodes"]) == ("1.2", "1.2 to 1.2", "7")


def test_an_environment_without_an_expert_is_left_out(monkeypatch):
    monkeypatch.setattr("rl_il.evaluation.ENVS", {"Corridor-v0": EnvSpec()})
    assert list(evaluate_experts(1)) == []


def test_the_table_of_demonstrations_describes_each_file_and_the_command_that_made_it(always, tmp_path):
    (tmp_path / "demos").mkdir()
    policy = always(2)
    record_demos("Corridor-v0", tmp_path / "demos" / "a.npz", policy, n_demos=3, min_return=1.5, seed=4, ep_len=2)
    header, row = demos_table(tmp_path / "demos")
    lengths = np.minimum(lengths_of("demonstrations", 4, 3), 2)
    described = dict(zip(header, row, strict=True))
    returns = 2.0 * lengths
    assert described == {
        "file": "a.npz",
        "episodes": "3",
        "steps": str(lengths.sum()),
        "mean return": f"{returns.mean():.1f}",
        "least": f"{returns.min():.1f}",
        "most": f"{returns.max():.1f}",
        "MB": f"{(tmp_path / 'demos' / 'a.npz').stat().st_size / 1e6:.1f}",
        "made by": f"`record_demos.py --env_name Corridor-v0 --policy {policy} --n_demos 3 --min_return 1.5"
        " --ep_len 2 --seed 4`",
    }


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
    read = load_trajectories(out, gym.make("Corridor-v0"))
    assert len(read) == 4
    for ours, theirs in zip(kept, read, strict=True):
        for name in ("obs", "acs", "rewards", "labels"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
            assert getattr(ours, name).dtype == getattr(theirs, name).dtype
        assert (ours.terminated, ours.truncated) == (theirs.terminated, theirs.truncated) == (True, False)


def test_episodes_below_min_return_are_thrown_away_and_counted(always, tmp_path):
    lengths = lengths_of("demonstrations", 0, 100)
    good = np.flatnonzero(lengths >= 5)[:6]
    assert good[-1] > 5  # some of those before it are shorter
    kept, thrown_away = record_demos("Corridor-v0", tmp_path / "demos.npz", always(1), n_demos=6, min_return=5)
    assert [len(trajectory) for trajectory in kept] == list(lengths[good])
    assert thrown_away == good[-1] + 1 - 6
    meta = json.loads(str(np.load(tmp_path / "demos.npz")["meta"]))
    assert meta["thrown_away"] == thrown_away
    assert meta["min_return"] == 5
    assert (meta["env_name"], meta["policy"], meta["seed"]) == ("Corridor-v0", always(1), 0)


def test_recording_begins_few_episodes_that_nobody_keeps(always, tmp_path, monkeypatch):
    asked = []
    submit = RolloutWorkers.submit
    monkeypatch.setattr(RolloutWorkers, "submit", lambda self, *args: asked.extend(args[0]) or submit(self, *args))
    record_demos("fakes:Corridor-v0", tmp_path / "demos.npz", always(1), n_demos=70, num_workers=2)
    assert len(asked) <= 70 + 2 + 1


def test_a_min_return_out_of_reach_says_how_many_episodes_reach_it_and_writes_nothing(always, tmp_path):
    (tmp_path / "out").mkdir()
    best = int(lengths_of("demonstrations", 0, 60).max())
    with pytest.raises(InputError, match=rf"--min_return 9: only 0 of 60 episodes reach it .*best {best}\.0"):
        record_demos("Corridor-v0", tmp_path / "out/demos.npz", always(1), n_demos=3, min_return=9)
    assert list((tmp_path / "out").iterdir()) == []


def test_unclipped_labels_and_clipped_actions_are_both_recorded(tmp_path, monkeypatch):
    wild = ScriptedActor(lambda obs: np.tile(np.float32([3, -1]), (len(obs), 1)), (2,))
    monkeypatch.setattr("rl_il.evaluation.load_actor", lambda *_: wild)
    record_demos("CorridorContinuous-v0", tmp_path / "demos.npz", n_demos=2)
    for trajectory in load_trajectories(tmp_path / "demos.npz", gym.make("CorridorContinuous-v0")):
        assert (trajectory.labels == np.float32([3, -1])).all()
        assert (trajectory.acs == np.float32([1, -1])).all()
        assert trajectory.episode_return == len(trajectory)


def test_recording_with_workers_writes_the_same_arrays(tmp_path):
    for workers in (1, 2):
        record_demos("MountainCar-v0", tmp_path / f"{workers}.npz", n_demos=3, seed=4, num_workers=workers)
    one, two = (np.load(tmp_path / f"{workers}.npz") for workers in (1, 2))
    assert one.files == two.files
    for name in one.files:
        np.testing.assert_array_equal(one[name], two[name])


@pytest.mark.parametrize("name", ["demos.txt", "demos", "occupied.npz"])
def test_a_file_that_could_not_be_read_back_is_refused_before_recording(always, tmp_path, monkeypatch, name):
    (tmp_path / "occupied.npz").mkdir()
    policy = always(1)
    monkeypatch.setattr("rl_il.evaluation.sample_n_trajectories", lambda *_: pytest.fail("rolled out"))
    with pytest.raises(InputError, match=name):
        record_demos("Corridor-v0", tmp_path / name, policy, n_demos=1)


def test_workers_find_an_environment_that_a_package_registers(tmp_path):
    kwargs = {"policy": "random", "env_name": "fakes:TimedCorridor-v0", "episodes": 3}
    assert evaluate(**kwargs, num_workers=2) == evaluate(**kwargs)

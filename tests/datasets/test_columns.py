"""Names and layouts of other programs' files, each with the value that it must give."""

import collections
import gzip
import json
import pickle

import numpy as np
import pytest
import torch
from refusals import refusal

from rl_il.datasets import load_trajectories
from rl_il.datasets.content import ReadOptions
from rl_il.errors import InputError

RNG = np.random.default_rng(0)
OBS = RNG.random((5, 100, 2), np.float32)
ACS = RNG.integers(0, 3, (5, 100))
REWARDS = -np.ones((5, 100))
ROWS, LABELS = OBS.reshape(500, 2), ACS.reshape(500)
EVERY_100TH = np.arange(500) % 100 == 0
LAST = np.arange(500) % 100 == 99
LONGER = np.concatenate([np.concatenate([episode, episode[-1:] + 1]) for episode in OBS])  # T + 1 observations each
AFTER = np.concatenate([np.concatenate([episode[1:], episode[-1:] + 1]) for episode in OBS])
FLAT = {"observations": ROWS, "actions": LABELS}
INFOS = np.array([{} for _ in range(500)], object)


@pytest.fixture
def read(tmp_path, shared_env):
    """Load what `save` writes for MountainCar-v0."""

    def load(save, **settings):
        path = tmp_path / "demos"
        with path.open("wb") as file:
            save(file)
        return load_trajectories(path, shared_env("MountainCar-v0"), **settings)

    return load


def npz(**arrays):
    return lambda file: np.savez(file, **arrays)


def pickled(value, protocol=4):
    return lambda file: pickle.dump(value, file, protocol)


def text(value):
    return lambda file: file.write(value.encode())


def lines(rows):
    return text("\n".join(map(json.dumps, rows)))


STEPS = list(zip(ROWS.tolist(), LABELS.tolist(), LAST.tolist(), strict=True))
LISTS = collections.defaultdict(
    list, {"states": list(ROWS), "acts": list(LABELS), "episode_starts": list(EVERY_100TH)}
)
FIVE = {
    "Stable-Baselines": npz(
        obs=ROWS, actions=LABELS[:, None], episode_starts=EVERY_100TH, episode_returns=REWARDS.sum(1)
    ),
    "Baselines": npz(obs=OBS, acs=ACS, rews=REWARDS, ep_rets=REWARDS.sum(1)),
    "stacked": npz(observations=OBS, actions=ACS),
    "stacked, one-hot": npz(observations=OBS, actions=np.eye(3)[ACS]),
    "T + 1": npz(observations=LONGER, actions=LABELS, dones=LAST),
    "stacked, T + 1": npz(observations=LONGER.reshape(5, 101, 2), actions=ACS),
    "terminals": npz(**FLAT, terminals=LAST),
    "done": npz(**FLAT, done=LAST[:, None].astype(float)),
    "ids": npz(states=ROWS, acts=LABELS, episode_ids=np.repeat([3, 1, 4, 0, 5], 100)),
    "lengths": npz(ob=ROWS, ac=LABELS.astype(float), episode_lengths=[100] * 5),
    "ends": npz(expert_observations=ROWS, expert_actions=LABELS, episode_ends=[100, 200, 300, 400, 500]),
    "last rows": npz(**FLAT, episode_ends=[99, 199, 299, 399, 499]),
    "first rows": npz(**FLAT, episode_starts=[0, 100, 200, 300, 400]),
    "next": npz(obs=ROWS, acs=LABELS, next_obs=AFTER),
    "imitation": npz(
        obs=LONGER, acts=LABELS, infos=INFOS, terminal=[True] * 5, rews=REWARDS.ravel(), indices=[100, 200, 300, 400]
    ),
    "objects": npz(
        observations=np.array([*OBS, OBS[0][:3]], object)[:5], actions=np.array([*ACS, ACS[0][:3]], object)[:5]
    ),
    "axis of one environment": npz(observations=ROWS[:, None], actions=LABELS[:, None], dones=LAST[:, None]),
    "(N, 1, 1) actions": npz(observations=ROWS, actions=LABELS[:, None, None], dones=LAST),
    "list of dicts": pickled(
        [
            {"observations": x, "actions": y, "rewards": z, "dones": np.zeros(100)}
            for x, y, z in zip(OBS, ACS, REWARDS, strict=True)
        ]
    ),
    "dicts of lists": pickled(
        [{"observations": x.tolist(), "actions": y.tolist()} for x, y in zip(OBS, ACS, strict=True)]
    ),
    "named episodes": pickled({f"demo_{i}": {"obs": OBS[i], "acs": ACS[i]} for i in (3, 1, 4, 0, 2)}),
    "within data": pickled({"version": 1, "data": {"obs": ROWS, "acs": LABELS, "dones": LAST}}),
    "lists of tuples": pickled(
        [[(s, int(a)) for s, a in zip(x, y, strict=True)] for x, y in zip(OBS, ACS, strict=True)]
    ),
    "five in a tuple": pickled(
        [(s, int(a), -1.0, t, bool(d)) for s, a, t, d in zip(ROWS, LABELS, AFTER, LAST, strict=True)]
    ),
    "next before the reward": pickled(
        [(s, int(a), t, -1.0, bool(d)) for s, a, t, d in zip(ROWS, LABELS, AFTER, LAST, strict=True)]
    ),
    "deque": pickled(
        collections.deque([(s, int(a), -1.0, t, d) for s, a, t, d in zip(ROWS, LABELS, AFTER, LAST, strict=True)])
    ),
    "defaultdict": pickled(LISTS),
    "tensors in a pickle": pickled(
        {"obs": torch.tensor(ROWS), "acs": torch.tensor(LABELS), "dones": torch.tensor(LAST)}
    ),
    "torch.save": lambda file: torch.save(
        {"obs": torch.tensor(ROWS), "acs": torch.tensor(LABELS), "dones": torch.tensor(LAST)}, file
    ),
    "gzip": lambda file: file.write(gzip.compress(pickle.dumps(FLAT | {"dones": LAST}))),
    "JSON": text(json.dumps({"obs": ROWS.tolist(), "acs": LABELS.tolist(), "dones": LAST.tolist()})),
    "JSON lines of steps": lines({"obs": s, "action": a, "done": d} for s, a, d in STEPS),
    "JSON lines of episodes": lines({"obs": x.tolist(), "acs": y.tolist()} for x, y in zip(OBS, ACS, strict=True)),
    "CSV": text("obs_0,obs_1,action,done\n" + "\n".join(f"{s[0]!r},{s[1]!r},{a},{d}" for s, a, d in STEPS)),
    "CSV with episodes": text(
        "step;obs.1;obs.0;action;episode\n"
        + "\n".join(f"{i};{s[1]!r};{s[0]!r};{a};{i // 100}" for i, (s, a, _) in enumerate(STEPS))
    ),
}
for _protocol in range(6):
    FIVE[f"protocol {_protocol}"] = pickled(FLAT | {"terminal": LAST}, _protocol)


@pytest.mark.parametrize("name", FIVE)
def test_five_episodes_are_read(read, name):
    trajectories = read(FIVE[name])
    assert [len(t) for t in trajectories] == [100] * 5
    for t, obs, acs in zip(trajectories, OBS, ACS, strict=True):
        np.testing.assert_allclose(t.obs[:-1], obs, rtol=1e-6)
        assert t.acs.tolist() == acs.tolist() and t.acs.dtype == np.int64


LAST_SEEN = ("T + 1", "stacked, T + 1", "next", "imitation", "five in a tuple", "next before the reward", "deque")


@pytest.mark.parametrize("name", LAST_SEEN)
def test_the_last_observation_is_the_files_own(read, name):
    for t, episode in zip(read(FIVE[name]), OBS, strict=True):
        np.testing.assert_allclose(t.obs[-1], episode[-1] + 1, rtol=1e-6)


@pytest.mark.parametrize(
    "name", ["Baselines", "imitation", "list of dicts", "five in a tuple", "next before the reward"]
)
def test_rewards_are_read(read, name):
    assert all(t.rewards.tolist() == [-1.0] * 100 for t in read(FIVE[name]))


ONE = {
    "no ends": npz(**FLAT),
    "infos": npz(**FLAT, infos=INFOS),
    "one dict": pickled({"observations": ROWS, "actions": LABELS[:, None]}),
    "pairs": pickled([(s, int(a)) for s, a in zip(ROWS, LABELS, strict=True)]),
    "two arrays": pickled((ROWS, LABELS)),
}


@pytest.mark.parametrize("name", ONE)
def test_without_ends_all_rows_are_one_episode_and_uncounted(read, name):
    (t,) = read(ONE[name])
    np.testing.assert_array_equal(t.obs[:-1], ROWS)
    with pytest.raises(InputError, match="--split_every"):
        read(ONE[name], n_demos=1)
    assert [len(t) for t in read(ONE[name], n_demos=2, options=ReadOptions(split_every=100))] == [100, 100]


@pytest.mark.parametrize("split_every", [0, 99])
def test_a_length_that_does_not_divide_the_steps_is_refused(read, split_every):
    with pytest.raises(InputError, match=r"500|split_every"):
        read(ONE["no ends"], options=ReadOptions(split_every=split_every))


@pytest.mark.parametrize("name", ["T + 1", "stacked"])
def test_a_length_is_refused_where_the_file_says_it(read, name):
    with pytest.raises(InputError, match="--split_every"):
        read(FIVE[name], options=ReadOptions(split_every=50))


@pytest.mark.parametrize(
    "names", [("terminals", "timeouts"), ("terminated", "truncated"), ("terminations", "truncations")]
)
def test_both_kinds_of_end_are_kept_apart(read, names):
    ended, limit = np.zeros(400, bool), np.zeros(400, bool)
    ended[[99, 299]], limit[[199, 399]] = True, True
    found = read(npz(observations=ROWS[:400], actions=LABELS[:400], **dict(zip(names, (ended, limit), strict=True))))
    assert [(t.terminated, t.truncated) for t in found] == [(True, False), (False, True)] * 2


def test_a_break_in_the_next_observations_ends_an_episode(read):
    rows = np.r_[0:30, 60:90]  # of one episode, of which the middle was taken out
    first, second = read(npz(obs=OBS[0][rows], acs=ACS[0][rows], next_obs=AFTER[rows]))
    assert (len(first), len(second)) == (30, 30)
    np.testing.assert_array_equal(first.obs[-1], OBS[0][30])


def test_padding_is_dropped_and_said(read, capsys):
    obs, acs = OBS.copy(), ACS.copy()
    obs[1, 60:], acs[1, 60:] = 0, 0
    assert [len(t) for t in read(npz(observations=obs, actions=acs))] == [100, 60, 100, 100, 100]
    assert "40" in capsys.readouterr().err


def test_lengths_cut_stacked_episodes(read):
    lengths = [100, 3, 50, 1, 100]
    assert [len(t) for t in read(npz(observations=OBS, actions=ACS, episode_lengths=lengths))] == lengths


def test_what_is_not_read_is_said(read, capsys):
    read(npz(obs=ROWS, actions=LABELS, terminals=LAST, infos=INFOS, qpos=ROWS))
    said = capsys.readouterr().err
    assert all(words in said for words in ("obs as observations", "terminals as terminations", "infos, qpos"))


def test_a_file_of_our_own_names_needs_no_line(read, capsys):
    read(npz(**FLAT, dones=LAST))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("keys", "values"), [("obs=states", 2 * ROWS), ("observations=obs", ROWS)])
def test_two_names_of_one_meaning_need_a_choice(read, keys, values):
    both = npz(obs=ROWS, states=2 * ROWS, actions=LABELS)
    with pytest.raises(InputError, match=r"obs.*states.*--keys"):
        read(both)
    (t,) = read(both, options=ReadOptions(keys=keys))
    np.testing.assert_array_equal(t.obs[:-1], values)


@pytest.mark.parametrize("keys", ["obs", "obs=", "colour=x", "obs=nothing,actions=actions", "obs=a,observations=b"])
def test_wrong_keys_are_refused(read, keys):
    with pytest.raises(InputError, match="--keys"):
        read(npz(obs=ROWS, actions=LABELS), options=ReadOptions(keys=keys))


def test_the_parts_of_a_dict_observation_are_joined_by_name(read, capsys):
    parts = {"velocity": ROWS[:, 1:], "position": ROWS[:, :1], "picture": np.zeros((500, 4, 4, 3), np.uint8)}
    (t,) = read(pickled({"obs": parts, "acs": LABELS}))
    np.testing.assert_array_equal(t.obs[:-1], ROWS)
    said = capsys.readouterr().err
    assert "position, velocity" in said and "obs/picture" in said
    (t,) = read(pickled({"obs": parts, "acs": LABELS}), options=ReadOptions(obs_keys="velocity,position"))
    np.testing.assert_array_equal(t.obs[:-1], ROWS[:, ::-1])
    with pytest.raises(InputError, match="colour"):
        read(pickled({"obs": parts, "acs": LABELS}), options=ReadOptions(obs_keys="colour"))


def test_arrays_in_a_folder_are_put_together(tmp_path, shared_env):
    np.save(tmp_path / "hopper_obs.npy", ROWS)
    np.save(tmp_path / "hopper_acs.npy", LABELS)
    for path in (tmp_path, tmp_path / "hopper_obs.npy"):
        (t,) = load_trajectories(path, shared_env("MountainCar-v0"))
        np.testing.assert_array_equal(t.obs[:-1], ROWS)


def test_a_folder_of_episodes_is_read_in_the_order_of_numbers(tmp_path, shared_env, capsys):
    for i in range(5):
        np.savez(tmp_path / f"episode_{i + 8}.npz", obs=OBS[i], acs=ACS[i])
    trajectories = load_trajectories(tmp_path, shared_env("MountainCar-v0"), n_demos=5)
    assert [t.acs[0] for t in trajectories] == [a[0] for a in ACS]
    assert capsys.readouterr().err.count("obs as observations") == 1


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], ["empty list"]),
        ({"weights": np.zeros(3)}, ["weights", "--keys"]),
        ({"obs": ROWS, "acs": LABELS, "episode_lengths": [100, 100]}, ["episode_lengths", "500"]),
        ({"obs": ROWS, "acs": LABELS, "episode_ends": [300, 200, 500]}, ["episode_ends"]),
        ({"obs": [*ROWS.tolist()[:-1], [1.0]], "acs": LABELS}, []),
        ({"obs": {"a": np.zeros((500, 4, 4, 3))} | {"b": np.zeros((500, 4, 4))}, "acs": LABELS}, ["--obs_keys"]),
        ([{"obs": [0.0, 1.0], "action": 1}, {"obs": [0.0, 1.0], "action": 1, "reward": 1.0}], ["names"]),
        ([(1, 2, 3, 4, 5, 6)] * 2, ["tuples"]),
        (np.zeros((3, 3)), ["ndarray"]),
        ([[np.array(2.0), np.array(2.0)]], []),
        ({"a" + "9" * 5000: [1], "obs": [1]}, []),
        ([[[True, True, True, False, False]] * 2], []),
        ({"obs": {"a": [[1.0], [1.0, 2.0], 3.0], "b": [[1.0]] * 3}, "acs": [0, 1, 2]}, []),
    ],
    ids=range(13),
)
def test_what_is_no_set_of_demonstrations_is_refused(tmp_path, value, words):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(value))
    refusal(load_trajectories, path, holds=words)


CROOKED = {
    "header of numbers": "0.5,0.1,2\n0.5,0.1,1\n",
    "ragged row": "obs_0,action\n1,2\n1\n",
    "text for a number": "obs_0,action\n1,left\n",
    "JSON cut off": '{"obs": [[0.1, 0.2]], "ac',
    "JSON of text": '{"obs": ["a"], "acs": [1]}',
}


@pytest.mark.parametrize("name", CROOKED)
def test_a_crooked_text_file_is_refused(tmp_path, name):
    (tmp_path / "x.csv").write_text(CROOKED[name])
    refusal(load_trajectories, tmp_path / "x.csv")

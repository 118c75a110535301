import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from rl_il.datasets import load_trajectories
from rl_il.datasets.loading import FORMATS
from rl_il.envs import make_env
from rl_il.errors import InputError

OBS = np.arange(10, dtype=np.float64).reshape(5, 2)
ACS = np.array([0, 1, 2, 1, 0])
TEN = {"observations": np.arange(20.0).reshape(10, 2), "actions": np.zeros(10, int), "dones": np.ones(10, bool)}


@pytest.fixture
def write(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "demos.npz", **arrays)
        return tmp_path / "demos.npz"

    return write


def test_formats_are_found_by_suffix():
    assert set(FORMATS) >= {".npz", ".pkl"}


@pytest.mark.parametrize("name", ["demos.txt", "demos.csv", "demos", "demos.pt"])
def test_another_suffix_is_refused(tmp_path, name):
    (tmp_path / name).write_text("1 2 3")
    with pytest.raises(InputError) as error:
        load_trajectories(tmp_path / name)
    assert str(error.value) == f"{tmp_path / name}: unknown demonstration format; expected .npz or .pkl"


@pytest.mark.parametrize("name", ["demos.npz", "demos.pkl"])
def test_a_missing_file_or_a_folder_is_refused(tmp_path, name):
    no_session = "is a folder without session/episode_*.npz; expected a file, or a teaching run's folder"
    for message in ("no such file", no_session):
        with pytest.raises(InputError) as error:
            load_trajectories(str(tmp_path / name))
        assert str(error.value) == f"{tmp_path / name}: {message}"
        (tmp_path / name).mkdir(exist_ok=True)


def test_episodes_as_long_as_the_environments_limit_were_truncated(write, register_env):
    env = make_env(register_env(Box(-99, 99, (2,)), Discrete(3), max_episode_steps=3))
    first, second = load_trajectories(write(observations=OBS, actions=ACS, dones=[0, 1, 0, 0, 1]), env)
    assert (first.terminated, first.truncated) == (True, False)
    assert (second.terminated, second.truncated) == (False, True)


def test_a_file_that_tells_the_ends_apart_is_believed(write, register_env):
    env = make_env(register_env(Box(-99, 99, (2,)), Discrete(3), max_episode_steps=3))
    path = write(
        observations=OBS,
        actions=ACS,
        dones=[0, 1, 0, 0, 1],
        terminations=[0, 0, 0, 0, 1],
        truncations=[0, 1, 0, 0, 0],
    )
    first, second = load_trajectories(path, env)
    assert (first.terminated, first.truncated) == (False, True)
    assert (second.terminated, second.truncated) == (True, False)


def test_a_flat_file_without_boundaries_loads_whole(write, shared_env):
    (t,) = load_trajectories(write(observations=OBS, actions=ACS), shared_env("MountainCar-v0"))
    assert len(t) == 5


def test_a_flat_file_without_boundaries_refuses_n_demos(write):
    path = write(observations=OBS, actions=ACS, rewards=np.ones(5))
    with pytest.raises(InputError) as error:
        load_trajectories(path, n_demos=1)
    message = str(error.value)
    assert message.startswith(f"{path}: does not say where episodes end")
    for word in ("--n_demos", "dones", "terminations", "truncations", "episode_starts"):
        assert word in message


def test_more_demonstrations_than_there_are_is_refused_with_both_numbers(write):
    with pytest.raises(InputError, match="holds 10 episodes, --n_demos asks for 11"):
        load_trajectories(write(**TEN), n_demos=11)


@pytest.mark.parametrize("n_demos", [0, -1])
def test_fewer_than_one_demonstration_is_refused(write, n_demos):
    with pytest.raises(InputError, match="n_demos"):
        load_trajectories(write(**TEN), n_demos=n_demos)


def firsts(trajectories):
    return [int(t.obs[0, 0]) // 2 for t in trajectories]


def test_without_a_generator_the_first_demonstrations_are_kept(write):
    assert firsts(load_trajectories(write(**TEN), n_demos=3)) == [0, 1, 2]


def test_demonstrations_are_drawn_without_replacement(write):
    path = write(**TEN)
    assert sorted(firsts(load_trajectories(path, n_demos=10, rng=np.random.default_rng(0)))) == list(range(10))
    for seed in range(20):
        assert len(set(firsts(load_trajectories(path, n_demos=4, rng=np.random.default_rng(seed))))) == 4


def test_the_generator_decides_which_demonstrations(write):
    path = write(**TEN)
    draws = [firsts(load_trajectories(path, n_demos=3, rng=np.random.default_rng(seed))) for seed in (0, 0, 1, 2, 3)]
    assert draws[0] == draws[1]
    assert len({tuple(draw) for draw in draws}) > 2
    assert any(max(draw) > 2 for draw in draws)


def test_arrays_take_the_environments_dtypes(write, shared_env):
    (t,) = load_trajectories(write(observations=OBS, actions=ACS.astype(np.float32)), shared_env("MountainCar-v0"))
    assert t.obs.dtype == np.float32
    assert t.acs.dtype == np.int64
    assert t.acs.tolist() == ACS.tolist()


def test_continuous_labels_are_not_clipped(write, shared_env):
    acs = np.array([[3.0], [-3.0], [0], [0], [0]])
    executed = np.clip(acs, -1, 1)
    path = write(observations=OBS, actions=acs, executed_actions=executed)
    (t,) = load_trajectories(path, shared_env("MountainCarContinuous-v0"))
    assert t.labels.tolist() == acs.tolist()
    assert t.acs.tolist() == executed.tolist()
    assert t.labels.dtype == t.acs.dtype == np.float32


@pytest.mark.parametrize(
    "name, arrays, words",
    [
        ("LunarLander-v3", {"observations": OBS}, ["(2,)", "LunarLander-v3 observes (8,)"]),
        ("MountainCar-v0", {"observations": OBS[:, 0]}, ["()", "MountainCar-v0 observes (2,)"]),
        ("MountainCar-v0", {"observations": OBS.reshape(5, 2, 1)}, ["(2, 1)", "MountainCar-v0 observes (2,)"]),
        ("MountainCar-v0", {"actions": ACS + 1}, ["integers in [0, 3) for MountainCar-v0", "in [1, 3]"]),
        ("MountainCar-v0", {"actions": ACS - 1}, ["integers in [0, 3) for MountainCar-v0", "in [-1, 1]"]),
        ("MountainCar-v0", {"actions": ACS / 4}, ["integers in [0, 3) for MountainCar-v0", "float64", "in [0, 0.5]"]),
        ("MountainCar-v0", {"actions": np.zeros((5, 2))}, ["integers in [0, 3)", "(5, 2)"]),
        ("MountainCar-v0", {"actions": np.zeros((5, 0))}, ["integers in [0, 3)", "(5, 0)"]),
        ("MountainCar-v0", {"executed_actions": ACS + 7}, ["integers in [0, 3)", "in [7, 9]"]),
        ("MountainCarContinuous-v0", {}, ["shape (N, 1) for MountainCarContinuous-v0", "(5,)"]),
        ("MountainCarContinuous-v0", {"actions": np.zeros((5, 2))}, ["shape (N, 1)", "(5, 2)"]),
        ("MountainCar-v0", {"observations": np.full((5, 2), 1e300)}, ["obs hold NaN or infinity"]),
        ("MountainCarContinuous-v0", {"actions": np.full((5, 1), 1e300)}, ["acs hold NaN or infinity"]),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_what_was_recorded_elsewhere_is_refused_with_the_path(write, shared_env, name, arrays, words):
    path = write(**({"observations": OBS, "actions": ACS} | arrays))
    with pytest.raises(InputError) as error:
        load_trajectories(path, shared_env(name))
    assert str(error.value).startswith(f"{path}: ")
    for word in words:
        assert word in str(error.value)


def test_discrete_and_continuous_landers_taken_for_each_other(write, shared_env):
    obs = np.zeros((5, 8))
    with pytest.raises(InputError, match=r"was it recorded on LunarLanderContinuous-v3\?"):
        load_trajectories(write(observations=obs, actions=np.full((5, 2), 0.5)), shared_env("LunarLander-v3"))
    with pytest.raises(InputError, match=r"was it recorded on LunarLander-v3\?"):
        load_trajectories(write(observations=obs, actions=ACS), shared_env("LunarLanderContinuous-v3"))


def test_the_course_ants_contact_forces_are_cut_off_with_a_note(tmp_path, shared_env, capsys):
    obs = np.random.default_rng(0).normal(size=(5, 111))
    np.savez(tmp_path / "ant.npz", observations=obs, actions=np.zeros((5, 8)))
    (trajectory,) = load_trajectories(tmp_path / "ant.npz", shared_env("Ant-v4"))
    np.testing.assert_array_equal(trajectory.obs[:-1], obs[:, :27])
    note = capsys.readouterr().err
    assert note.startswith("note: ") and "111" in note and "27" in note
    with pytest.raises(InputError, match=r"\(111,\).*Hopper-v4 observes \(11,\)"):
        load_trajectories(tmp_path / "ant.npz", shared_env("Hopper-v4"))

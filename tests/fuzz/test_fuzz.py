"""For any content of a file, a reader returns a valid value or raises an `InputError`, and runs no code in it.

`make fuzz` tries 20,000 inputs of each kind, but 500 of those that are read in another process. These are read by
other libraries, and a crash of a library is counted, but is not an error.
"""

import pickle
import subprocess
import sys
from pathlib import Path

import good_files
import numpy as np
import pytest
import readers
from damage import damage, damaged
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_il.datasets.names import NAMES as MEANINGS

ENVS = st.sampled_from(readers.ENVS)
IN_A_CHILD = 500 if settings().max_examples > 1000 else 10


@pytest.fixture(autouse=True)
def limits(tmp_path, monkeypatch):
    """Run the test in an empty folder, where an attack would write, and limit the memory that a file can ask for."""
    monkeypatch.chdir(tmp_path)
    if not Path("/proc/self/statm").exists():  # the memory in use is read there
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * 10**9, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("seeds", "read"),
    [(good_files.demos, readers.read_demonstrations), (good_files.experts, readers.read_actor)],
    ids=["demonstrations", "experts"],
)
def test_an_npz(tmp_path, outcomes, seeds, read):
    @settings(max_examples=settings().max_examples // 2)
    @given(damaged("x.npz", seeds()), ENVS)
    def check(data, env_name):
        (tmp_path / "x.npz").write_bytes(data)
        outcomes[readers.outcome(read, tmp_path / "x.npz", env_name)] += 1

    check()


def test_a_pickle(tmp_path, outcomes):
    reads = (readers.read_demonstrations, readers.read_actor, readers.read_any_pickle)

    @given(damaged("x.pkl", good_files.pickles()))
    def check(data):
        path = tmp_path / "x.pkl"
        path.write_bytes(data)
        found = {readers.outcome(read, path, "MountainCarContinuous-v0") for read in reads}
        outcomes["values" if "values" in found else "InputErrors"] += 1

    check()


@pytest.mark.parametrize(
    ("suffix", "seeds"),
    [(".json", good_files.json_demos), (".csv", good_files.csv_demos), (".pkl", good_files.pickled_demos)],
)
def test_demonstrations_of_other_programs(tmp_path, outcomes, suffix, seeds):
    @given(damaged(f"x{suffix}", seeds()), ENVS)
    def check(data, env_name):
        (tmp_path / f"x{suffix}").write_bytes(data)
        outcomes[readers.outcome(readers.read_demonstrations, tmp_path / f"x{suffix}", env_name)] += 1

    check()


NAMES = [name for names in MEANINGS.values() for name in names[:2]] + ["data", "demo_1", "demo_2", "x"]
SHAPES = [
    (),
    (0,),
    (1,),
    (5,),
    (6,),
    (5, 2),
    (6, 2),
    (5, 1),
    (5, 1, 2),
    (2, 3, 2),
    (2, 4, 2),
    (2, 3),
    (2,),
    (3, 2, 2),
]
ARRAYS = st.builds(
    lambda shape, dtype, seed: np.random.default_rng(seed).integers(-1, 3, shape).astype(dtype),
    st.sampled_from([*SHAPES, (5, 0), (2, 3, 0)]),
    st.sampled_from(["f8", "f2", "i8", "u1", "?", "U1"]),
    st.integers(0, 3),
)
VALUES = st.one_of(ARRAYS, ARRAYS.map(np.ndarray.tolist), st.sampled_from([None, "x", 1, True, float("nan"), [], {}]))
COLUMNS = st.dictionaries(st.sampled_from(NAMES), st.one_of(VALUES, st.lists(VALUES, max_size=3)), max_size=5)
WITH_BOTH = st.builds(lambda obs, acs, more: {"obs": obs, "acs": acs} | more, VALUES, VALUES, COLUMNS)
EPISODES = st.one_of(st.lists(WITH_BOTH, max_size=3), st.dictionaries(st.sampled_from(NAMES), WITH_BOTH, max_size=3))
TUPLES = st.lists(st.lists(VALUES, min_size=1, max_size=6), max_size=4)
TREES = st.one_of(WITH_BOTH, EPISODES, TUPLES, COLUMNS, st.lists(TUPLES, max_size=2))


def test_trees_of_usual_names(tmp_path, outcomes):
    """Any values under the names that have a meaning: columns, episodes, steps and tuples."""

    @given(TREES, ENVS)
    def check(tree, env_name):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(tree))
        for read in (readers.read_demonstrations, readers.diagnose):
            outcomes[readers.outcome(read, tmp_path / "x.pkl", env_name)] += 1

    check()


def write(folder, files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        if content is None:
            (folder / name).unlink(missing_ok=True)
        else:
            (folder / name).write_bytes(content)


@st.composite
def run_folders(draw):
    """Draw the files of a run folder, some of which are damaged or missing."""
    files = dict(good_files.run_folder(draw(st.sampled_from(("DAgger", "PPO")))))
    for name in draw(st.lists(st.sampled_from(sorted(files)), min_size=1, max_size=2, unique=True)):
        files[name] = draw(damaged(name, [files[name]])) if draw(st.integers(0, 19)) else None
    return files


def test_a_run_folder(tmp_path, outcomes):
    @given(run_folders())
    def check(files):
        write(tmp_path / "run", files)
        outcomes[readers.outcome(readers.read_run_folder, tmp_path / "run", "MountainCar-v0")] += 1

    check()


def test_json(tmp_path, outcomes):
    """Single JSON files of runs, checkpoints, demonstrations and experts."""
    texts = good_files.jsons()

    @given(
        st.sampled_from(sorted(texts)).flatmap(
            lambda kind: st.tuples(st.just(kind), damaged("x.json", [texts[kind]]))
        )
    )
    def check(kind_and_text):
        kind, text = kind_and_text
        outcomes[readers.outcome(readers.JSONS[kind], tmp_path, text)] += 1

    check()


OTHER_LIBRARIES = [
    ("torch", "actor", ".pt", good_files.policies),
    ("torch", "actor", ".zip", good_files.sb3_zips),
    ("torch", "demonstrations", ".pt", good_files.torch_demos),
    ("h5py", "demonstrations", ".hdf5", good_files.hdf5_demos),
    ("pyarrow", "demonstrations", ".parquet", good_files.parquet_demos),
    ("pyarrow", "demonstrations", ".arrow", good_files.arrow_demos),
    ("zarr", "demonstrations", ".zip", good_files.zarr_demos),
]
"""A library, a reader in `readers.IN_A_CHILD`, the suffix that decides how files are damaged, and the good files."""


@pytest.mark.parametrize(("library", "reader", "suffix", "seeds"), OTHER_LIBRARIES)
def test_other_libraries_in_a_process_of_their_own(tmp_path, outcomes, library, reader, suffix, seeds):
    left = []

    @settings(max_examples=IN_A_CHILD)
    @given(damaged(f"x{suffix}", seeds()), ENVS)
    def write_files(data, env_name):
        left.append(tmp_path / f"{reader}_{len(left)}_{env_name}{suffix}")
        left[-1].write_bytes(data)

    write_files()
    while left:
        child = subprocess.run([sys.executable, readers.__file__, *left], capture_output=True, text=True)
        answers = child.stdout.split()
        outcomes.update(answers)
        if len(answers) < len(left):
            died_of_a_signal = child.returncode < 0  # the library crashed; otherwise this package raised an exception
            assert died_of_a_signal, f"{left[len(answers)]}: {child.stderr}"
            outcomes["crashes"] += 1
        del left[: len(answers) + 1]


@pytest.mark.parametrize(
    ("file", "seeds", "read"),
    [
        ("x.npz", good_files.demos, readers.read_demonstrations),
        ("x.npz", good_files.experts, readers.read_actor),
        ("x.pkl", good_files.pickles, readers.read_any_pickle),
        ("x.json", good_files.json_demos, readers.read_demonstrations),
        ("x.csv", good_files.csv_demos, readers.read_demonstrations),
        ("x.pkl", good_files.pickled_demos, readers.read_demonstrations),
        ("x.pt", good_files.torch_demos, readers.read_demonstrations),
        ("x.pt", good_files.policies, readers.read_actor),
        ("x.zip", good_files.sb3_zips, readers.read_actor),
    ],
)
def test_good_files_are_read_and_damage_changes_them(tmp_path, file, seeds, read):
    """Otherwise the tests above would start from files that are refused anyway."""
    for seed in seeds():
        (tmp_path / file).write_bytes(seed)
        assert "values" in {readers.outcome(read, tmp_path / file, env_name) for env_name in readers.ENVS}
        assert damage(file, seed, [("replace", 0, 0, b"x")]) != seed
    for algorithm in ("DAgger", "PPO"):
        write(tmp_path / "run", good_files.run_folder(algorithm))
        assert readers.outcome(readers.read_run_folder, tmp_path / "run", "") == "values"


@pytest.mark.parametrize(("library", "reader", "suffix", "seeds"), OTHER_LIBRARIES[3:])
def test_good_files_of_optional_libraries_are_read(tmp_path, library, reader, suffix, seeds):
    for seed in seeds():
        (tmp_path / f"x{suffix}").write_bytes(seed)
        read = readers.IN_A_CHILD[reader]
        assert readers.outcome(read, tmp_path / f"x{suffix}", "MountainCar-v0") == "values"

"""Every loader on 2,000 damaged files, and the fuzzer itself on loaders with planted faults."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rl_il.datasets import load_trajectories
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.files import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "scripts"))
import _fuzz_archives
import _fuzz_loaders
import fuzz as fuzz_script
from _fuzzing import Limits, Loader, fuzz, make_case

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the memory limit needs Linux")
INPUTS = 2000


def complaints(report):
    return [f"{failure['index']}: {failure['kind']} {failure['text']}" for failure in report.failures]


@pytest.mark.parametrize("name", _fuzz_loaders.SOURCES)
def test_a_loader_loads_or_refuses_whatever_it_gets(name):
    report = fuzz(_fuzz_loaders.make_loader(name), INPUTS)
    assert complaints(report) == []
    assert report.loaded + report.refused == INPUTS
    assert report.loaded > 50 and report.refused > 300, "the inputs are too tame, or broken beyond reading"


def test_the_command_knows_every_loader():
    assert list(_fuzz_loaders.SOURCES) == fuzz_script.LOADERS


@pytest.mark.parametrize("name", _fuzz_loaders.SOURCES)
def test_the_same_seed_gives_the_same_inputs(name):
    first, again = (_fuzz_loaders.make_loader(name) for _ in range(2))
    for index in range(0, 200, 7):
        assert make_case(first, 3, index) == make_case(again, 3, index)
    assert any(make_case(first, 3, index) != make_case(first, 4, index) for index in range(20, 40))


def test_seeds_are_loaded_unless_they_attack():
    for name in _fuzz_loaders.SOURCES:
        loader = _fuzz_loaders.make_loader(name)
        attacks = [case for case in loader.seeds if any(b"touch ran" in data for data in case.values())]
        report = fuzz(loader, len(loader.seeds))
        assert (report.loaded, report.refused) == (len(loader.seeds) - len(attacks), len(attacks)), name


# The fuzzer itself -----------------------------------------------------------------------------------------


def fuzz_with(load, inputs=30, **settings):
    """The report on a loader that does this with the file's content; the input's number decides the content."""

    def read(folder):
        load((folder / "x").read_bytes())

    def number(rng, case, other):
        return {"x": bytes([rng.randrange(200)])}

    return fuzz(Loader("planted", [{"x": b"\0"}], number, read), inputs, **settings)


def faults(report):
    assert report.loaded + report.refused + len(report.failures) == report.inputs
    return set(report.kinds())


def test_a_good_loader_has_no_failures():
    def load(data):
        if data[0] < 100:
            raise InputError("too small")

    report = fuzz_with(load)
    assert faults(report) == set()
    assert report.loaded and report.refused


def test_another_error_is_a_failure():
    report = fuzz_with(lambda data: {}[data])
    assert faults(report) == {"KeyError"}
    assert len(report.failures) == 30
    assert "test_fuzz.py:" in report.failures[0]["text"]


def test_a_value_that_does_not_pass_its_check_is_a_failure():
    def load(data):
        _fuzz_loaders.check_tree({"a": [object()]})

    assert faults(fuzz_with(load)) == {"AssertionError"}


def endless(data):
    while data[0] >= 0:
        pass


def endless_in_c(data):
    value = ()
    for _ in range(60):
        value = (value, value)
    hash(value)


@pytest.mark.parametrize("load", [endless, endless_in_c, lambda data: time.sleep(60)])
def test_a_hang_is_ended_and_the_rest_goes_on(load):
    def sometimes(data):
        if data == b"\0":
            load(data)

    report = fuzz_with(sometimes, limits=Limits(seconds=0.3))
    assert faults(report) == {"hang"}
    assert [failure["index"] for failure in report.failures] == [0]
    assert report.loaded == 29 and report.seconds < 5


def swallows(data):
    try:
        bytearray(3_000_000_000)
    except MemoryError as error:
        raise InputError("is damaged") from error


@pytest.mark.parametrize("load", [lambda data: bytearray(3_000_000_000), lambda data: np.ones(10**9), swallows])
def test_a_full_memory_is_a_failure_even_where_it_is_refused_afterwards(load):
    report = fuzz_with(load, inputs=3)
    assert faults(report) == {"memory"}


def swallows_everything(data):
    try:
        os.system("true")
    except Exception as error:
        raise InputError("is damaged") from error


@pytest.mark.parametrize(
    "load",
    [
        lambda data: os.system("true"),
        lambda data: subprocess.run(["true"], check=True),
        lambda data: exec("x = 1"),
        lambda data: __import__("this"),
        lambda data: Path("written").write_bytes(data),
        lambda data: os.mkdir("made"),
        lambda data: __import__("pickle").loads(b"cos\nsystem\n(X\x04\x00\x00\x00truetR."),
        swallows_everything,
    ],
)
def test_code_that_runs_is_a_failure(load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("this", None)
    assert faults(fuzz_with(load, inputs=3)) == {"code run"}
    assert list(tmp_path.iterdir()) == []


def test_a_crash_is_a_failure_and_the_rest_goes_on():
    def overflows_the_stack(data):
        value = ()
        for _ in range(300_000):
            value = (value,)
        if data == b"\0":
            hash(value)

    report = fuzz_with(overflows_the_stack, inputs=3)
    assert faults(report) == {"crash"} and report.loaded == 2


def test_an_endless_message_is_a_failure():
    def load(data):
        raise InputError("x" * 5000)

    assert faults(fuzz_with(load)) == {"message"}


def test_a_failing_input_is_kept(tmp_path):
    report = fuzz_with(lambda data: {}[data], inputs=3, save_to=tmp_path)
    for failure in report.failures:
        folder = tmp_path / "planted" / str(failure["index"])
        assert len((folder / "x").read_bytes()) == 1
        assert (folder / "failure.txt").read_text().startswith("KeyError: ")


def test_several_processes_do_the_same_work_once(tmp_path):
    def load(data):
        if data[0] < 100:
            raise InputError("too small")

    alone, together = (fuzz_with(load, inputs=301, processes=n) for n in (1, 3))
    assert (alone.loaded, alone.refused) == (together.loaded, together.refused)


def test_the_command_prints_the_table(tmp_path):
    script = str(REPOSITORY / "scripts" / "fuzz.py")
    command = [
        sys.executable,
        script,
        "--inputs",
        "50",
        "--loader",
        "meta",
        "--processes",
        "1",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| meta | 50 |" in done.stdout


def test_the_command_ends_with_1_after_a_failure(tmp_path, monkeypatch, capsys):
    def load(folder):
        raise KeyError("planted")

    make_seeds, _ = _fuzz_loaders.SOURCES["meta"]
    planted = Loader("meta", make_seeds(), _fuzz_loaders.mutate_case, load)
    monkeypatch.setattr(_fuzz_loaders, "make_loader", lambda name: planted)
    arguments = ["fuzz.py", "--inputs", "5", "--loader", "meta", "--processes", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        fuzz_script.main()
    assert ended.value.code == 1
    assert "5 KeyError" in capsys.readouterr().out
    assert len(list((tmp_path / "meta").iterdir())) == 5


# Bombs -----------------------------------------------------------------------------------------------------


def bomb(name, size, monkeypatch):
    """An archive of one member that unpacks to this many zeros."""
    monkeypatch.setattr(_fuzz_archives, "BOMB", _fuzz_archives.packed_zeros(size))
    return _fuzz_archives.write_zip([(name, b"")], 8, {0: {"bomb": 1, "size": size}})


@pytest.mark.parametrize("size", [120 * 2**20, 900 * 2**20])
@pytest.mark.parametrize(
    ("loader", "file", "member"),
    [
        ("demonstrations", "discrete.npz", "observations.npy"),
        ("checkpoint", "discrete.pt", "x/data.pkl"),
        ("sb3", "discrete.zip", "data"),
        ("sb3", "discrete.zip", "policy.pth"),
    ],
)
def test_a_zip_bomb_is_refused(loader, file, member, size, monkeypatch):
    loader = _fuzz_loaders.make_loader(loader)
    case = {file: bomb(member, size, monkeypatch)}
    assert len(case[file]) < 2_000_000
    report = fuzz(Loader("bomb", [case], loader.mutate, loader.load), 1)
    assert complaints(report) == []
    assert report.refused == 1


def test_a_file_that_unpacks_to_as_much_as_it_may_stays_within_the_limits(tmp_path):
    zeros = {"observations": np.zeros((14_000_000, 2), np.float32), "actions": np.zeros(14_000_000, np.uint8)}
    np.savez_compressed(tmp_path / "discrete.npz", **zeros)
    case = {"discrete.npz": (tmp_path / "discrete.npz").read_bytes()}
    assert len(case["discrete.npz"]) < 1_000_000
    env = make_env("MountainCar-v0")

    def load(folder):
        assert len(load_trajectories(folder / "discrete.npz", env)[0]) == 14_000_000

    report = fuzz(Loader("bomb", [case], _fuzz_loaders.mutate_case, load), 1)
    assert complaints(report) == []
    assert report.loaded == 1

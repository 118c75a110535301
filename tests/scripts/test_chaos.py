"""Short versions of `make chaos` and `make soak`."""

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from systems import needs_proc

from rl_il.errors import InputError

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import chaos  # noqa: E402
import soak  # noqa: E402

pytestmark = needs_proc


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return chaos.finish("dagger", tmp_path_factory.mktemp("chaos") / "whole")


def test_a_run_that_was_killed_and_stopped_is_the_same(tmp_path, whole):
    ways = iter(["SIGKILL", "SIGHUP-group", "SIGSTOP-group"])
    kills = chaos.kill_and_go_on("dagger", tmp_path / "run", random.Random(1), seconds=2.5, max_kills=3, ways=ways)
    assert 1 <= kills <= 3
    assert chaos.compare("dagger", tmp_path / "run", whole) == []


def python(code):
    pipes = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "start_new_session": True,
        "encoding": "utf-8",
    }
    return subprocess.Popen([sys.executable, "-c", code], **pipes)


@pytest.mark.parametrize("way", chaos.WAYS)
def test_each_way_ends_the_process_or_lets_it_go_on(way):
    with python("print(flush=True); input()") as process:
        process.stdout.readline()
        assert chaos.strike(process, way, seconds=0) is ("STOP" not in way)
        process.communicate("x" if "STOP" in way else None)
    assert process.returncode == (0 if "STOP" in way else -getattr(signal, way.removesuffix("-group")))


@pytest.mark.parametrize("code", ["exit(3)", "raise ValueError", "import os; os.kill(os.getpid(), 15)"])
def test_an_end_with_another_status_is_found(code, tmp_path):
    (tmp_path / "config.json").touch()  # the run has begun
    with python(code) as process, pytest.raises(InputError, match="dagger ended with status"):
        chaos.check_end("dagger", "SIGTERM", process, tmp_path)


@pytest.mark.parametrize(
    ("name", "found"),
    [("metrics.csv", "metrics.csv"), ("episodes.csv", "episodes.csv"), ("policy_itr_3.pt", "files")],
)
def test_a_difference_is_found(tmp_path, whole, name, found):
    other = shutil.copytree(whole, tmp_path / "run")
    if name.endswith(".csv"):
        (other / name).write_text((other / name).read_text().replace("1", "2"))
    else:
        (other / name).unlink()
    assert found in chaos.compare("dagger", other, whole)


def test_repeated_scalars_are_found(tmp_path, whole):
    other = shutil.copytree(whole, tmp_path / "run")
    (events,) = other.glob("*tfevents*")
    shutil.copy(events, other / f"{events.name}.1")
    assert chaos.compare("dagger", other, whole) == ["TensorBoard"]


def looks(growth: float, files: int = 0) -> list[dict[str, tuple]]:
    """Return measurements every two seconds for ten minutes: a worker grows by `growth` bytes per second.

    In the last part it has `files` more open files.
    """
    return [
        {"main": (2.0 * i, 1e8, 10, 3), "worker 7": (2.0 * i, 1e8 + 2.0 * i * growth, 10 + files * (i > 200), 2)}
        for i in range(300)
    ]


@pytest.mark.parametrize(
    ("growth", "files", "grows"), [(0, 0, False), (1000, 0, False), (5000, 0, True), (0, 9, True)]
)
def test_growth_is_found(growth, files, grows, capsys):
    assert soak.report(looks(growth, files), iterations=100) is grows
    printed = capsys.readouterr().out
    assert f"{3600 * growth / 1e6:+.2f} MB an hour" in printed


@pytest.mark.slow
def test_a_run_is_watched_with_its_workers(tmp_path):
    seen, _ = soak.watch("MountainCar-v0", tmp_path / "run", seconds=12)
    assert sum(name.startswith("worker") for name in seen[-1]) == 2
    assert all(1e7 < memory < 1e9 and files > 2 and threads >= 1 for _, memory, files, threads in seen[-1].values())

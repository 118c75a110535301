"""Jobs in processes of their own: what they leave, how they fail, and that none outlives what started it."""

import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from rl_il.ablation.launch import LOG, launch_local, launch_ray, reason_for, run_packed
from rl_il.errors import InputError


@dataclass(frozen=True)
class Writes:
    """Writes two folders."""

    name: str

    def run(self, outdir: Path):
        for part in "ab":
            folder = outdir / f"{self.name}{part}"
            folder.mkdir()
            (folder / "summary.json").write_text(part)
            (folder / "zebra.txt").write_text(f"{os.environ['OMP_NUM_THREADS']} {os.getpid()}")
            print(f"{self.name} wrote {part}", flush=True)
            yield


@dataclass(frozen=True)
class Fails:
    error: Exception

    def run(self, outdir: Path):
        yield
        raise self.error


@dataclass(frozen=True)
class Dies:
    signal: int

    def run(self, outdir: Path):
        os.kill(os.getpid(), self.signal)
        yield


@dataclass(frozen=True)
class Hangs:
    """Says in a file which process it is, and never ends."""

    def run(self, outdir: Path):
        (outdir / "pid.part").write_text(str(os.getpid()))
        (outdir / "pid.part").rename(outdir / "pid")
        yield
        while True:
            signal.pause()


@dataclass(frozen=True)
class Overlaps:
    """Notes how many of five are at work while it is: waits for another one, unless the others are done."""

    number: int

    def run(self, outdir: Path):
        mark = outdir / f"at_work_{self.number}"
        mark.touch()
        end, most, alone = time.monotonic() + 20, 0, True
        while time.monotonic() < end:
            most = max(most, len(list(outdir.glob("at_work_*"))))
            if alone and (most > 1 or len(list(outdir.glob("most_*"))) == 4):
                end, alone = time.monotonic() + 0.2, False  # for a third one, which there should not be
        mark.unlink()
        (outdir / f"most_{self.number}").write_text(str(most))
        yield


def ends(pid: int, seconds: float = 20) -> bool:
    """Whether the process is gone, or goes within this time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    try:
        return bool(poller.poll(1000 * seconds))
    finally:
        os.close(handle)


def test_each_job_runs_in_a_process_of_its_own_with_one_thread(tmp_path):
    jobs = [Writes("x"), Writes("y")]
    events = list(launch_local(jobs, tmp_path, processes=2))
    assert sorted(events, key=lambda event: event[0].name) == [(job, None) for job in jobs for _ in "ab"]
    threads, pids = zip(*((tmp_path / f"{name}a" / "zebra.txt").read_text().split() for name in "xy"), strict=True)
    assert threads == ("1", "1")
    assert len({*pids, str(os.getpid())}) == 3


def test_what_jobs_print_goes_to_the_log(tmp_path, capfd):
    list(launch_local([Writes("x")], tmp_path, processes=1))
    assert (tmp_path / LOG).read_text() == "x wrote a\nx wrote b\n"
    assert capfd.readouterr().out == ""


def test_a_job_that_fails_says_why_and_the_others_go_on(tmp_path):
    bad, worse = Fails(InputError("--size must be\nabove 0")), Fails(RuntimeError("who knows"))
    events = list(launch_local([bad, worse, Writes("x")], tmp_path, processes=1))
    assert [reason for _, reason in events] == [
        None,
        "--size must be above 0",
        None,
        "RuntimeError: who knows",
        None,
        None,
    ]
    log = (tmp_path / LOG).read_text()
    assert "RuntimeError: who knows" in log and "Traceback" in log
    assert "--size" not in log


def test_a_job_whose_process_dies_has_failed_and_the_others_go_on(tmp_path):
    events = list(launch_local([Dies(signal.SIGKILL), Writes("x")], tmp_path, processes=1))
    assert [reason is None for _, reason in events] == [False, True, True]
    assert "died (exit code -9)" in events[0][1]


def test_as_many_work_at_a_time_as_was_said(tmp_path):
    list(launch_local([Overlaps(i) for i in range(5)], tmp_path, processes=2))
    assert max(int(file.read_text()) for file in tmp_path.glob("most_*")) == 2


def test_closing_the_iterator_ends_the_processes(tmp_path):
    events = launch_local([Hangs()], tmp_path, processes=1)
    assert next(events)[1] is None
    pid = int((tmp_path / "pid").read_text())
    events.close()
    assert ends(pid)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_the_one_that_started_them(tmp_path, how):
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path; from test_launch import Hangs; from rl_il.ablation.launch import launch_local\n"
        f"for _ in launch_local([Hangs()], Path({str(tmp_path)!r}), 1): print('begun', flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout.readline() == b"begun\n"
        pid = int((tmp_path / "pid").read_text())
        parent.send_signal(how)
        assert ends(pid)


def test_a_packed_job_is_its_files_with_the_summaries_last():
    files, finished, reason = run_packed(Writes("x"))
    assert (finished, reason) == (2, None)
    assert sorted(files) == ["xa/summary.json", "xa/zebra.txt", "xb/summary.json", "xb/zebra.txt"]
    assert [name.split("/")[1] for name in files] == ["zebra.txt"] * 2 + ["summary.json"] * 2
    assert files["xb/summary.json"] == b"b"


def test_a_packed_job_that_fails_keeps_what_was_finished():
    assert run_packed(Fails(InputError("no"))) == ({}, 1, "no")


def test_reasons_are_one_line():
    assert reason_for(InputError("a\n  b")) == "a b"
    assert reason_for(KeyError("x")) == "KeyError: 'x'"


def test_ray_is_asked_for_by_its_pip_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install ray"):
        next(launch_ray([Writes("x")], tmp_path))

"""Jobs in processes of their own: what they leave, how they fail, and that none outlives what started it."""

import multiprocessing
import os
import select
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from rl_il.errors import InputError
from rl_il.studies.ablation.launch import LOG, launch_local, launch_ray, run_packed


def writes(name: str, outdir: Path) -> None:
    """Write two folders."""
    for part in "ab":
        folder = outdir / f"{name}{part}"
        folder.mkdir()
        (folder / "summary.json").write_text(part)
        (folder / "zebra.txt").write_text(f"{os.environ['OMP_NUM_THREADS']} {os.getpid()}")
        print(f"{name} wrote {part}", flush=True)


def fails(error: Exception, outdir: Path) -> None:
    (outdir / "begun").touch()
    raise error


def dies(outdir: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(outdir: Path) -> None:
    """Say in a file which process this is, and never end."""
    (outdir / "pid").write_text(str(os.getpid()))
    (outdir / "begun").open("w").close()
    while True:
        signal.pause()


def ends_once_it_hangs(outdir: Path) -> None:
    """End once `hangs` is at work: opening a pipe waits for its other end."""
    (outdir / "begun").open().close()


X, Y = partial(writes, "x"), partial(writes, "y")


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


def test_each_job_has_a_process_of_its_own_with_one_thread(tmp_path, capfd):
    events = list(launch_local({"x": X, "y": Y}, tmp_path, processes=2))
    assert sorted(events) == [("x", None), ("y", None)]
    threads, pids = zip(*((tmp_path / f"{name}a" / "zebra.txt").read_text().split() for name in "xy"), strict=True)
    assert threads == ("1", "1")
    assert len({*pids, str(os.getpid())}) == 3
    assert sorted((tmp_path / LOG).read_text().splitlines()) == ["x wrote a", "x wrote b", "y wrote a", "y wrote b"]
    assert capfd.readouterr().out == ""


def test_a_job_that_fails_says_why_and_the_others_go_on(tmp_path):
    jobs = {
        "bad": partial(fails, InputError("--size must be\nabove 0")),
        "dead": dies,
        "worse": partial(fails, RuntimeError("who knows")),
        "x": X,
    }
    reasons = dict(launch_local(jobs, tmp_path, processes=1))
    assert "-9" in reasons.pop("dead")
    assert reasons == {"bad": "--size must be above 0", "worse": "RuntimeError: who knows", "x": None}
    log = (tmp_path / LOG).read_text()
    assert "RuntimeError: who knows" in log and "Traceback" in log
    assert "--size" not in log


def test_two_work_at_a_time_and_closing_ends_them(tmp_path):
    os.mkfifo(tmp_path / "begun")
    jobs = {"hangs": hangs, "ends": ends_once_it_hangs, "waits for its turn": hangs}
    events = launch_local(jobs, tmp_path, processes=2)
    assert next(events) == ("ends", None)
    assert len(multiprocessing.active_children()) == 1
    pid = int((tmp_path / "pid").read_text())
    events.close()
    assert ends(pid)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_the_one_that_started_them(tmp_path, how):
    os.mkfifo(tmp_path / "begun")
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path; from test_launch import ends_once_it_hangs, hangs\n"
        "from rl_il.studies.ablation.launch import launch_local\n"
        "jobs = {'hangs': hangs, 'ends': ends_once_it_hangs}\n"
        f"for _ in launch_local(jobs, Path({str(tmp_path)!r}), 2): print('begun', flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout.readline() == b"begun\n"
        pid = int((tmp_path / "pid").read_text())
        parent.send_signal(how)
        assert ends(pid)


def test_a_packed_job_is_its_files_with_the_summaries_last():
    files, reason = run_packed(X)
    assert reason is None
    assert sorted(files) == ["xa/summary.json", "xa/zebra.txt", "xb/summary.json", "xb/zebra.txt"]
    assert [name.split("/")[1] for name in files] == ["zebra.txt"] * 2 + ["summary.json"] * 2
    assert files["xb/summary.json"] == b"b"
    assert run_packed(partial(fails, KeyError("x\n  y"))) == ({"begun": b""}, r"KeyError: 'x\n y'")


def test_ray_is_asked_for_by_its_pip_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install ray"):
        next(launch_ray({"x": X}, tmp_path))

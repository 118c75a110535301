"""Launchers of jobs: the files of a job, how it fails, and that no process outlives the one that started it."""

import multiprocessing
import os
import re
import select
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from systems import WINDOWS, needs_pipes

from rl_il.errors import InputError, Interrupted
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
    os.kill(os.getpid(), 9)  # SIGKILL, which has no name on Windows


def ends_with_status_3(outdir: Path) -> None:
    os._exit(3)


def kills_all(outdir: Path) -> None:
    """Kill the parent's other processes once `hangs` is at work, and then this one."""
    ends_once_it_hangs(outdir)
    children = Path(f"/proc/{os.getppid()}/task").glob("*/children")
    others = {int(pid) for path in children for pid in path.read_text().split()} - {os.getpid()}
    for pid in [*others, os.getpid()]:
        os.kill(pid, signal.SIGKILL)


def stops(outdir: Path) -> None:
    """Stop until another process sends SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


def hangs(outdir: Path) -> None:
    """Write the process id to a file, and never end."""
    (outdir / "pid").write_text(str(os.getpid()))
    (outdir / "begun").open("w").close()
    threading.Event().wait()


def ends_once_it_hangs(outdir: Path) -> None:
    """End when `hangs` is at work: opening a pipe waits for its other end."""
    (outdir / "begun").open().close()


X, Y = partial(writes, "x"), partial(writes, "y")


def ends(pid: int, seconds: float = 20) -> bool:
    """Return whether the process has ended, or ends within this time."""
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


def test_jobs_that_run_at_a_time_have_a_process_each_with_one_thread(tmp_path, capfd):
    events = list(launch_local({"x": X, "y": Y}, tmp_path, processes=2))
    assert sorted(events) == [("x", None), ("y", None)]
    threads, pids = zip(*((tmp_path / f"{name}a" / "zebra.txt").read_text().split() for name in "xy"), strict=True)
    assert threads == ("1", "1")
    assert len({*pids, str(os.getpid())}) == 3
    assert sorted((tmp_path / LOG).read_text().splitlines()) == ["x wrote a", "x wrote b", "y wrote a", "y wrote b"]
    assert capfd.readouterr().out == ""


def test_a_process_runs_one_job_after_another(tmp_path):
    assert list(launch_local({"x": X, "y": Y}, tmp_path, processes=1)) == [("x", None), ("y", None)]
    pids = {(tmp_path / f"{name}a" / "zebra.txt").read_text().split()[1] for name in "xy"}
    assert len(pids) == 1 and str(os.getpid()) not in pids
    assert multiprocessing.active_children() == []


def test_processes_that_are_kept_run_the_jobs_of_the_next_call(tmp_path):
    idle = []
    assert list(launch_local({"x": X}, tmp_path, 1, idle)) == [("x", None)]
    (kept,) = idle
    assert list(launch_local({"y": Y}, tmp_path, 1, idle)) == [("y", None)]
    assert idle == [kept]
    kept.end()
    assert list(launch_local({"z": partial(writes, "z")}, tmp_path, 1, idle)) == [("z", None)]  # not in the dead one
    assert kept not in idle
    for worker in idle:
        worker.end()
    assert multiprocessing.active_children() == []


def test_a_job_that_fails_gives_the_reason_and_the_others_continue(tmp_path):
    jobs = {
        "bad": partial(fails, InputError("--size must be\nabove 0")),
        "dead": dies,
        "ended": ends_with_status_3,
        "worse": partial(fails, RuntimeError("who knows")),
        "x": X,
    }
    reasons = dict(launch_local(jobs, tmp_path, processes=1))
    assert re.search("exit code 9" if WINDOWS else "exit code -9.*memory", reasons.pop("dead"))
    assert re.search(f"exit code 3.*{LOG}", reasons.pop("ended"))
    assert reasons == {"bad": "--size must be above 0", "worse": "RuntimeError: who knows", "x": None}
    log = (tmp_path / LOG).read_text()
    assert "RuntimeError: who knows" in log and "Traceback" in log
    assert "--size" not in log


@needs_pipes
@pytest.mark.filterwarnings("ignore:resource_tracker")  # it is killed too
def test_when_all_processes_are_killed_new_ones_do_the_rest(tmp_path):
    os.mkfifo(tmp_path / "begun")
    jobs = {"hangs": hangs, "kills all": kills_all, "x": X, "y": Y}
    reasons = dict(launch_local(jobs, tmp_path, processes=2))
    assert (reasons.pop("x"), reasons.pop("y")) == (None, None)
    assert sorted(reasons) == ["hangs", "kills all"] and all("exit code -9" in reason for reason in reasons.values())


@needs_pipes
def test_a_process_that_was_stopped_goes_on(tmp_path):
    def go_on():
        os.kill(os.waitid(os.P_ALL, 0, os.WSTOPPED).si_pid, signal.SIGCONT)

    thread = threading.Thread(target=go_on)
    thread.start()
    assert list(launch_local({"stops": stops, "x": X}, tmp_path, processes=1)) == [("stops", None), ("x", None)]
    thread.join()


@needs_pipes
def test_a_signal_while_a_process_starts_leaves_no_message_of_python(tmp_path, monkeypatch, capfd):
    spawn, pids = multiprocessing.util.spawnv_passfds, []

    def spawn_and_signal(path, args, fds):
        pid = spawn(path, args, fds)
        if any(b"spawn_main" in os.fsencode(arg) for arg in args):
            pids.append(pid)
            signal.raise_signal(signal.SIGTERM)  # the process waits for what `start` sends next
        return pid

    def interrupt(number, frame):
        raise Interrupted("", number)

    monkeypatch.setattr(multiprocessing.util, "spawnv_passfds", spawn_and_signal)
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with pytest.raises(Interrupted):
            next(launch_local({"x": X}, tmp_path, processes=1))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(pids) == 1 and ends(pids[0])
    assert capfd.readouterr().err == "" and not (tmp_path / "xa").exists()


@needs_pipes
def test_two_jobs_work_at_a_time_and_closing_ends_them(tmp_path):
    os.mkfifo(tmp_path / "begun")
    jobs = {"hangs": hangs, "ends": ends_once_it_hangs, "waits for its turn": hangs}
    events = launch_local(jobs, tmp_path, processes=2)
    assert next(events) == ("ends", None)
    assert len(multiprocessing.active_children()) == 2
    pid = int((tmp_path / "pid").read_text())
    events.close()
    assert ends(pid)


@needs_pipes
@pytest.mark.parametrize("how", [9, signal.SIGINT])
def test_processes_end_when_their_parent_ends(tmp_path, how):
    os.mkfifo(tmp_path / "begun")
    code = (
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[2])]!r}\n"
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


def test_a_packed_job_returns_its_files_with_the_summaries_last():
    files, reason = run_packed(X)
    assert reason is None
    assert sorted(files) == ["xa/summary.json", "xa/zebra.txt", "xb/summary.json", "xb/zebra.txt"]
    assert [name.split("/")[1] for name in files] == ["zebra.txt"] * 2 + ["summary.json"] * 2
    assert files["xb/summary.json"] == b"b"
    assert run_packed(partial(fails, KeyError("x\n  y"))) == ({"begun": b""}, r"KeyError: 'x\n y'")


def test_a_ray_cluster_that_cannot_start_gives_one_sentence(tmp_path, monkeypatch):
    class Ray:
        def is_initialized():
            return False

        def init(**settings):
            raise Exception("timed out during startup")  # what Ray raises if its processes are killed

    monkeypatch.setitem(sys.modules, "ray", Ray)
    with pytest.raises(InputError, match="timed out during startup"):
        next(launch_ray({"x": X}, tmp_path))


def test_without_ray_the_message_has_its_pip_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install ray"):
        next(launch_ray({"x": X}, tmp_path))

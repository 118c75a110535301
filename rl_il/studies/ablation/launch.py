"""Launchers that run many jobs at once: in processes on this machine, or on a Ray cluster.

Each job gets a folder to write into, and runs in a separate process with one thread. If the process dies, the job has
failed, and the other jobs continue.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import tempfile
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from rl_il.errors import InputError
from rl_il.files import atomic_write
from rl_il.infrastructure.workers import end_with_parent, interrupts_ignored
from rl_il.runs.signals import noted_signals

LOG = "log.txt"

Job = Callable[[Path], None]
"""Work that can be sent to another process. It is called with the folder to write into."""
Event = tuple[str, str | None]
"""The name of a job that has ended, and why it failed; None if it did not fail."""


@dataclass(frozen=True)
class Launcher:
    """Where runs are made, how many at a time, and which of them."""

    kind: str = "local"  # processes on this machine, or `ray`
    processes: int = 1  # at a time on this machine; Ray has as many as the cluster has cores
    ray_address: str | None = None  # of a Ray cluster; None starts one on this machine
    shard: tuple[int, int] = (1, 1)  # `(i, n)` makes only part `i` of `n` parts of the runs; `i` begins at 1


LOCAL = Launcher()
"""One run at a time, in a process on this machine."""


def reason_for(error: BaseException) -> str:
    """Return one line that says why a job failed."""
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"


def run_job(job: Job, folder: Path) -> str | None:
    """Run one job; return the reason if it failed, else None. An error ends only this job."""
    try:
        job(folder)
    except (Exception, KeyboardInterrupt) as error:
        if not isinstance(error, InputError):
            traceback.print_exc()
        return reason_for(error)


def launch_local(
    jobs: Mapping[str, Job], outdir: Path, processes: int, idle: list[Worker] | None = None
) -> Iterator[Event]:
    """Run the jobs, at most `processes` at a time, and yield an event when one ends. Their output goes to log.txt.

    A process runs one job after another, since each new one imports torch. Closing the iterator or pressing Ctrl-C
    ends the processes that have a job. All end if this process is killed.

    Args:
      idle: processes of an earlier call, which are used first. In the end it holds those without a job, and the
        caller ends them. With None, they are ended here.
    """
    # The operations of a small network are too short to share among threads.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    waiting, keeps = deque(jobs), idle is not None
    idle = [] if idle is None else idle
    idle[:] = [worker for worker in idle if worker.process.is_alive()]
    running: dict[Connection, tuple[Worker, str]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                worker, name = idle.pop() if idle else Worker(outdir), waiting.popleft()
                running[worker.connection] = worker, name
                worker.begin(jobs[name])
            for connection in wait(list(running)):
                worker, name = running.pop(connection)
                reason = worker.result()
                if (waiting or keeps) and worker.process.is_alive():
                    idle.append(worker)
                else:
                    worker.end()
                yield name, reason
    finally:
        for worker in [*(() if keeps else idle), *(worker for worker, _ in running.values())]:
            worker.end()


class Worker:
    """A process that runs one job at a time."""

    def __init__(self, outdir: Path):
        context = multiprocessing.get_context("spawn")  # a fork would copy the threads and locks of torch
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(outdir, theirs), daemon=True)
        # The parent handles Ctrl-C. After another signal during the start, the process would print an EOFError.
        with interrupts_ignored(), noted_signals() as self._check_signals:
            self.process.start()
        theirs.close()  # now only the process holds the other end: if it dies, `recv` raises EOFError

    def begin(self, job: Job) -> None:
        """Start a job. Raise `Interrupted` if a signal came while the process was started."""
        self._check_signals()
        with suppress(BrokenPipeError):  # it has died: `result` says so
            self.connection.send(job)

    def result(self) -> str | None:
        """Return why the job failed, or None if it did not fail."""
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            status = self.process.exitcode
            memory = status == -9  # SIGKILL, with which Linux ends a process if memory runs out
            hint = "maybe the machine ran out of memory" if memory else f"{LOG} may say why"
            return f"its process died (exit code {status}); {hint}"

    def end(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _work(outdir: Path, connection: Connection) -> None:
    """Run the jobs that arrive, and send for each the reason if it failed, else None."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Windows does not pass on that the parent ignored it
    end_with_parent()
    with (outdir / LOG).open("a", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    with suppress(EOFError):  # the parent has ended
        while True:
            connection.send(run_job(connection.recv(), outdir))


def launch_ray(jobs: Mapping[str, Job], outdir: Path, address: str | None = None) -> Iterator[Event]:
    """Run each job as a Ray task with one core, and yield an event when one ends.

    If a node dies, Ray repeats its tasks on another node. The nodes need not share a disk: a task works in a
    temporary folder, and its files are sent back. `rl_il` must be installed on each node.

    Args:
      jobs, outdir: as for `launch_local`.
      address: the cluster's address. None starts a cluster on this machine and ends it after the jobs.

    Raises:
      InputError: Ray is not installed, or there is no cluster at the address.
    """
    if not jobs:
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError as error:
        raise InputError("--launcher ray needs `pip install ray`") from error
    own = not ray.is_initialized()
    if own:
        where = {"address": address} if address else {"address": "local", "include_dashboard": False}
        host, _, port = (address or "").removeprefix("ray://").rpartition(":")
        try:
            if host and port.isdecimal():  # if nothing listens there, Ray itself would try for minutes
                socket.create_connection((host, int(port)), timeout=5).close()
            ray.init(**where, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # Ray raises `Exception` itself if its processes die while they start
            place = f"--ray_address {address}: no cluster answers there" if address else "Ray could not start here"
            hint = "maybe it is not running" if address else "the same command tries again"
            raise InputError(f"{place} ({reason_for(error)}); {hint}") from error
    try:
        task = ray.remote(num_cpus=1)(run_packed)
        pending = {task.remote(job): name for name, job in jobs.items()}
        while pending:
            (done,), _ = ray.wait(list(pending), num_returns=1)
            try:
                files, reason = ray.get(done)
            except ray.exceptions.RayError as error:
                files, reason = {}, reason_for(error)
            for path, content in files.items():
                with atomic_write(outdir / path) as file:
                    file.write(content)
            yield pending.pop(done), reason
    finally:
        if own:
            ray.shutdown()


def run_packed(job: Job) -> tuple[dict[str, bytes], str | None]:
    """Run the job in a temporary folder; return the contents of its files, and the reason if it failed."""
    with tempfile.TemporaryDirectory() as folder:
        reason = run_job(job, Path(folder))
        # summary.json marks a folder as complete, so it is written last.
        paths = sorted(Path(folder).rglob("*"), key=lambda path: path.name == "summary.json")
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths if p.is_file()}, reason

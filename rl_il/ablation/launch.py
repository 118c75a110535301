"""Running many jobs at once: in processes on this machine, or on a Ray cluster.

A job writes folders below the one it is given, and yields once for each that is whole. Each runs in a process of its
own with one thread; if that dies, its job has failed and the others go on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import tempfile
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Protocol

from rl_il.errors import InputError
from rl_il.files import atomic_write
from rl_il.infrastructure.interrupts import end_with_parent

PRELOADED = ["rl_il.experiment", "rl_il.infrastructure.rl_trainer", "rl_il.policies.mlp_policy"]
LOG = "log.txt"


class Job(Protocol):
    """Work that can be sent to another process."""

    def run(self, outdir: Path) -> Iterator[None]:
        """Does it, below `outdir`; yields once for each run folder that is whole."""


Event = tuple[Job, str | None]
"""A job, and None for each run that it has finished, or the reason why it failed."""


def reason_for(error: BaseException) -> str:
    """One line that says why a job failed."""
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"


# Processes on this machine ----------------------------------------------------------------------------------


def launch_local(jobs: Sequence[Job], outdir: Path, processes: int) -> Iterator[Event]:
    """Runs the jobs, at most `processes` at a time; what they print goes to log.txt in `outdir`.

    Closing the iterator, or Ctrl-C, ends the processes; they also end if this one is killed.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a small network's operations are too short to be shared out
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(PRELOADED)  # torch is imported once, not once a job
    waiting = deque(jobs)
    running: dict[Connection, tuple[multiprocessing.process.BaseProcess, Job]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                receiver, sender = context.Pipe(duplex=False)
                job = waiting.popleft()
                process = context.Process(target=_work, args=(job, outdir, sender), daemon=True)
                process.start()
                sender.close()  # so that the pipe ends with the process
                running[receiver] = process, job
            for connection in wait(list(running)):
                process, job = running[connection]
                try:
                    yield job, connection.recv()
                except EOFError:
                    process.join()
                    del running[connection]
                    if process.exitcode:
                        yield job, f"its process died (exit code {process.exitcode}); is memory short?"
    finally:
        for process, _ in running.values():
            process.kill()
            process.join()


def _work(job: Job, outdir: Path, connection: Connection) -> None:
    """What a process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    with (outdir / LOG).open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        for _ in job.run(outdir):
            connection.send(None)
    except KeyboardInterrupt:
        connection.send("interrupted")
    except Exception as error:  # whatever it is, it is this job's alone
        if not isinstance(error, InputError):
            traceback.print_exc()
        connection.send(reason_for(error))


# Ray --------------------------------------------------------------------------------------------------------


def launch_ray(jobs: Sequence[Job], outdir: Path, address: str | None = None) -> Iterator[Event]:
    """Runs each job as a Ray task with one core; Ray runs those of a node that dies again elsewhere.

    Nodes need not share a disk: a task works in a temporary folder, and its files are sent back. `rl_il` must be
    installed on each.

    Args:
      jobs, outdir: as for `launch_local`.
      address: of a cluster; None starts one on this machine for as long as the jobs take.

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
        check_address(address)
        where = {"address": address} if address else {"address": "local", "include_dashboard": False}
        try:
            ray.init(**where, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InputError(f"--ray_address {address}: no cluster answers there ({reason_for(error)})") from error
    try:
        task = ray.remote(num_cpus=1)(run_packed)
        pending = {task.remote(job): job for job in jobs}
        while pending:
            (done,), _ = ray.wait(list(pending), num_returns=1)
            job = pending.pop(done)
            try:
                files, finished, reason = ray.get(done)
            except ray.exceptions.RayError as error:
                files, finished, reason = {}, 0, reason_for(error)
            for name, content in files.items():
                with atomic_write(outdir / name) as file:
                    file.write(content)
            yield from [(job, None)] * finished
            if reason:
                yield job, reason
    finally:
        if own:
            ray.shutdown()


def check_address(address: str | None) -> None:
    """Raises `InputError` where nothing listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise InputError(f"--ray_address {address}: no cluster answers there ({reason_for(error)})") from error


def run_packed(job: Job) -> tuple[dict[str, bytes], int, str | None]:
    """The job's files, how many runs they hold, and the reason if it failed."""
    finished, reason = 0, None
    with tempfile.TemporaryDirectory() as folder:
        try:
            for _ in job.run(Path(folder)):
                finished += 1
        except Exception as error:  # whatever it is, it is this job's alone
            reason = reason_for(error)
        # summary.json marks a folder as whole: it is written last here too.
        paths = sorted(Path(folder).rglob("*"), key=lambda path: path.name == "summary.json")
        return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.is_file()}, finished, reason

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
from multiprocessing.connection import Connection, wait
from pathlib import Path

from rl_il.errors import InputError
from rl_il.files import atomic_write
from rl_il.infrastructure.workers import end_with_parent

PRELOADED = ["rl_il.runs.experiment", "rl_il.infrastructure.rl_trainer", "rl_il.policies.mlp_policy"]
LOG = "log.txt"

Job = Callable[[Path], None]
"""Work that can be sent to another process. It is called with the folder to write into."""
Event = tuple[str, str | None]
"""The name of a job that has ended, and why it failed; None if it did not fail."""


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


def launch_local(jobs: Mapping[str, Job], outdir: Path, processes: int) -> Iterator[Event]:
    """Run the jobs, at most `processes` at a time, and yield an event when one ends. Their output goes to log.txt.

    Closing the iterator or pressing Ctrl-C ends the processes. They also end if this process is killed.
    """
    # The operations of a small network are too short to share among threads.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(PRELOADED)  # so that torch is imported once, not for each job
    waiting = deque(jobs)
    running: dict[Connection, tuple[multiprocessing.process.BaseProcess, str]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                receiver, sender = context.Pipe(duplex=False)
                name = waiting.popleft()
                process = context.Process(target=_work, args=(jobs[name], outdir, sender), daemon=True)
                process.start()
                sender.close()  # now only the process holds the sender: if it dies, `recv` raises EOFError
                running[receiver] = process, name
            for connection in wait(list(running)):
                process, name = running[connection]
                try:
                    reason = connection.recv()
                    process.join()
                except EOFError:
                    process.join()
                    memory = process.exitcode == -signal.SIGKILL  # as Linux ends a process if memory runs out
                    hint = "maybe the machine ran out of memory" if memory else f"{LOG} may say why"
                    reason = f"its process died (exit code {process.exitcode}); {hint}"
                del running[connection]
                yield name, reason
    finally:
        for process, _ in running.values():
            process.kill()
            process.join()


def _work(job: Job, outdir: Path, connection: Connection) -> None:
    """Run one job in this process, and send the reason if it failed, else None."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    with (outdir / LOG).open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    connection.send(run_job(job, outdir))


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
        except (OSError, ValueError, RuntimeError) as error:
            why = f"no cluster answers there ({reason_for(error)}); maybe it is not running"
            raise InputError(f"--ray_address {address}: {why}") from error
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
        return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.is_file()}, reason

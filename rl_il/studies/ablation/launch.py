"""Running many jobs at once: in processes on this machine, or on a Ray cluster.

A job writes into the folder that it is given. Each runs in a process of its own with one thread; if that process
dies, its job has failed and the others continue.
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
"""Work that can be sent to another process, which does it below the folder that it is given."""
Event = tuple[str, str | None]
"""The name of a job that has ended, and the reason why it failed; None: it did not."""


def reason_for(error: BaseException) -> str:
    """Return one line that says why a job failed."""
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"


def run_job(job: Job, folder: Path) -> str | None:
    """Run one job, and return the reason if it failed: any error ends this job alone."""
    try:
        job(folder)
    except (Exception, KeyboardInterrupt) as error:
        if not isinstance(error, InputError):
            traceback.print_exc()
        return reason_for(error)


def launch_local(jobs: Mapping[str, Job], outdir: Path, processes: int) -> Iterator[Event]:
    """Run the jobs, at most `processes` at a time; what they print goes to log.txt in `outdir`.

    Closing the iterator, or Ctrl-C, ends the processes; they also end if this one is killed.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a small network's operations are too short to be divided
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(PRELOADED)  # torch is imported once, not once a job
    waiting = deque(jobs)
    running: dict[Connection, tuple[multiprocessing.process.BaseProcess, str]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                receiver, sender = context.Pipe(duplex=False)
                name = waiting.popleft()
                process = context.Process(target=_work, args=(jobs[name], outdir, sender), daemon=True)
                process.start()
                sender.close()  # so that the pipe ends with the process
                running[receiver] = process, name
            for connection in wait(list(running)):
                process, name = running[connection]
                try:
                    reason = connection.recv()
                    process.join()
                except EOFError:
                    process.join()
                    reason = f"its process died (exit code {process.exitcode}); is memory short?"
                del running[connection]
                yield name, reason
    finally:
        for process, _ in running.values():
            process.kill()
            process.join()


def _work(job: Job, outdir: Path, connection: Connection) -> None:
    """Run one job, in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    with (outdir / LOG).open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    connection.send(run_job(job, outdir))


def launch_ray(jobs: Mapping[str, Job], outdir: Path, address: str | None = None) -> Iterator[Event]:
    """Run each job as a Ray task with one core; Ray repeats those of a node that dies on another one.

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
        where = {"address": address} if address else {"address": "local", "include_dashboard": False}
        host, _, port = (address or "").removeprefix("ray://").rpartition(":")
        try:
            if host and port.isdecimal():  # where nothing listens, Ray itself would try for minutes
                socket.create_connection((host, int(port)), timeout=5).close()
            ray.init(**where, log_to_driver=False, logging_level="ERROR")
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"--ray_address {address}: no cluster answers there ({reason_for(error)})") from error
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
    """Run the job; return its files, and the reason if it failed."""
    with tempfile.TemporaryDirectory() as folder:
        reason = run_job(job, Path(folder))
        # summary.json marks a folder as complete: it is written last here too.
        paths = sorted(Path(folder).rglob("*"), key=lambda path: path.name == "summary.json")
        return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.is_file()}, reason

"""Runs a loader on damaged and hostile files, and counts what it makes of them.

Only two outcomes are right: a value that passes the loader's checks, or `InputError`. Each input runs in a worker
process, so that a crash, an endless loop or a full memory ends that process and is counted; an audit hook sees
code that is run, files that are written and modules that are imported. Hypothesis and Atheris were left aside: what
it takes here are these processes, and mutations that know the formats; an input is its number and the seed.
"""

from __future__ import annotations

import faulthandler
import importlib
import io
import json
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rl_il.errors import InputError

Case = dict[str, bytes]
"""The files of one input, by name."""
MOST_SAVED = 100  # failing inputs of a loader that are kept
MOST_MESSAGE = 2000  # characters of one line; a longer message repeats the file
SUSPECT = tuple(
    "os.system os.exec os.spawn os.posix_spawn os.fork os.remove os.rename os.mkdir os.rmdir os.chmod os.link"
    " os.putenv os.symlink os.truncate os.kill subprocess. pty. socket. ctypes. shutil. exec marshal. import"
    " pickle.find_class code.__new__ webbrowser. urllib.".split()
)
"""Beginnings of the audit events that no loader may cause."""
for _name in "cp437 raw_unicode_escape utf_16 utf_16_be utf_16_le utf_32 utf_32_be utf_32_le".split():
    importlib.import_module(f"encodings.{_name}")  # Python does so when a text needs it, which is no code of a file
importlib.import_module("unicodedata")


@dataclass(frozen=True)
class Loader:
    """One reader of files, with what to feed it.

    `load` reads the files in a folder and checks what it gets: it returns, or raises `InputError`, or fails.
    """

    name: str
    seeds: Sequence[Case]
    mutate: Callable[[random.Random, Case, Case], Case]
    load: Callable[[Path], None]


@dataclass(frozen=True)
class Limits:
    """What one input may take."""

    seconds: float = 10.0
    memory: int = 2_000_000_000  # bytes more than the process has at its start


@dataclass
class Report:
    """What came out of a loader's inputs."""

    loader: str
    inputs: int
    loaded: int = 0
    refused: int = 0
    seconds: float = 0.0
    failures: list[dict] = field(default_factory=list)  # index, kind, text

    def kinds(self) -> Counter:
        """How many failures there are of each kind."""
        return Counter(failure["kind"] for failure in self.failures)


class CodeRan(BaseException):
    """Raised where a loader is about to run code; no `except Exception` takes it for something else."""


class _Spy:
    """An audit hook. Python cannot take one away again, so it is set in worker processes only."""

    def __init__(self) -> None:
        self.armed, self.seen = False, []

    def __call__(self, event: str, arguments: tuple) -> None:
        if not self.armed or not (event.startswith(SUSPECT) or event == "open"):
            return
        if event == "open" and not _writes(*arguments[1:3]):
            return
        self.armed = False
        self.seen.append(f"{event} {str(arguments)[:200]}")
        raise CodeRan(self.seen[-1])


def _writes(mode: str | None, flags: int) -> bool:
    return bool(set(mode or "") & set("wax+")) or bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def make_case(loader: Loader, seed: int, index: int) -> Case:
    """The input of this number: one of the seeds as it is, or mutated. The same always, in whatever process."""
    if index < len(loader.seeds):
        return loader.seeds[index]
    rng = random.Random(f"{seed}/{loader.name}/{index}")
    return loader.mutate(rng, rng.choice(loader.seeds), rng.choice(loader.seeds))


def fuzz(
    loader: Loader,
    inputs: int,
    seed: int = 0,
    processes: int = 1,
    limits: Limits | None = None,
    save_to: Path | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Report:
    """Runs inputs 0 to `inputs` through the loader; failing ones are written to `save_to/<loader>/<index>/`."""
    limits, report, started = limits or Limits(), Report(loader.name, inputs), time.monotonic()
    in_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # ten times as fast as on a disk
    with tempfile.TemporaryDirectory(prefix="fuzz_", dir=in_memory) as folder:
        crew = [
            _Worker(loader, seed, range(k, inputs, processes), limits, Path(folder) / f"{k}")
            for k in range(processes)
        ]
        try:
            while any(worker.tend() for worker in crew):
                progress(sum(worker.done() for worker in crew))
                crew[0].process.join(0.05)
        finally:
            for worker in crew:
                worker.stop()
        for worker in crew:
            report.loaded += int(worker.shared[LOADED])
            report.refused += int(worker.shared[REFUSED])
            report.failures += worker.failures()
    report.failures.sort(key=lambda failure: failure["index"])
    report.seconds = time.monotonic() - started
    if save_to is not None:
        for failure in report.failures[:MOST_SAVED]:
            _save(save_to / loader.name / str(failure["index"]), make_case(loader, seed, failure["index"]), failure)
    return report


def _save(folder: Path, case: Case, failure: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_case(folder, case)
    (folder / "failure.txt").write_text(f"{failure['kind']}: {failure['text']}\n")


def write_case(folder: Path, case: Case, before: Case | None = None) -> None:
    """Puts the files into the folder, and takes out those of the case before; the same bytes stay."""
    before = before or {}
    for name in before.keys() - case.keys():
        (folder / name).unlink()
    for name, content in case.items():
        if before.get(name) != content:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)


POSITION, SINCE, LOADED, REFUSED = range(4)  # in the memory that a worker shares; SINCE is 0 between inputs


class _Worker:
    """A process that works through its inputs, and another one after it if it dies on one of them."""

    def __init__(self, loader: Loader, seed: int, indices: range, limits: Limits, folder: Path):
        self.loader, self.seed, self.indices, self.limits, self.folder = loader, seed, indices, limits, folder
        (folder / "files").mkdir(parents=True)
        self.log = folder / "failures.jsonl"
        self.log.touch()
        self.shared = multiprocessing.RawArray("d", 4)
        self._start()

    def _start(self) -> None:
        self.process = multiprocessing.get_context("fork").Process(target=self._work, daemon=True)
        self.process.start()

    def done(self) -> int:
        """How many inputs it has gone through."""
        return int(self.shared[POSITION])

    def failures(self) -> list[dict]:
        """What it has written down."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def tend(self) -> bool:
        """Whether there is work left; a process that hangs is killed, and one that died is replaced."""
        since = self.shared[SINCE]
        hangs = since and time.monotonic() - since > self.limits.seconds
        if self.process.is_alive() and not hangs:
            return True
        self.stop()
        if self.done() >= len(self.indices):
            return False
        why = ("hang", f"longer than {self.limits.seconds:g} s") if hangs else ("crash", f"{self.process.exitcode}")
        self._write_down(self.indices[self.done()], *why)
        self.shared[POSITION] += 1
        self.shared[SINCE] = 0
        if self.done() < len(self.indices):
            self._start()
        return self.done() < len(self.indices)

    def stop(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.join()

    def _write_down(self, index: int, kind: str, text: str) -> None:
        with self.log.open("a") as file:
            file.write(json.dumps({"index": index, "kind": kind, "text": text[:500]}) + "\n")

    def _work(self) -> None:
        sys.stdout = sys.stderr = io.StringIO()  # the loaders' notes
        faulthandler.disable()  # a crash is counted, and printed by nobody
        spy = _Spy()
        sys.addaudithook(spy)
        _limit_memory(self.limits.memory)
        files = self.folder / "files"
        before = {str(path.relative_to(files)): b"" for path in files.rglob("*") if path.is_file()}
        parent = os.getppid()
        while self.done() < len(self.indices) and os.getppid() == parent:
            index = self.indices[self.done()]
            case = make_case(self.loader, self.seed, index)
            write_case(files, case, before)
            before = case
            self.shared[SINCE] = time.monotonic()
            kind, text = attempt(self.loader, files, spy)
            self.shared[SINCE] = 0
            if kind in ("loaded", "refused"):
                self.shared[LOADED if kind == "loaded" else REFUSED] += 1
            else:
                self._write_down(index, kind, text)
            self.shared[POSITION] += 1


def attempt(loader: Loader, folder: Path, spy: _Spy) -> tuple[str, str]:
    """What came of the files in the folder, and its message."""
    spy.seen.clear()
    spy.armed = True
    try:
        loader.load(folder)
        kind, text = "loaded", ""
    except InputError as error:
        kind, text = "refused", str(error)
        if _ran_out_of_memory(error):
            kind = "memory"
        elif len(text) > MOST_MESSAGE or "\n" in text:
            kind = "message"
    except MemoryError as error:
        kind, text = "memory", repr(error)
    except BaseException as error:
        kind, text = type(error).__name__, f"{error} {_place(error)}"
    finally:
        spy.armed = False
    return ("code run", spy.seen[0]) if spy.seen else (kind, text)


def _ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether a want of memory lies behind the error: the size should have been refused before it was asked for."""
    while error is not None:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})" if trace else ""


def _limit_memory(growth: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + growth
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

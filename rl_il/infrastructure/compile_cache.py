"""Compiled steps in the user's cache folder. A step is compiled once for each graph and machine, then only loaded.

The folder is `$RL_IL_CACHE`, or `rl_il` in the platform's folder for caches. The name of a library ends with its own
checksum, so that a damaged one is noticed before it is loaded. The libraries that were not used for the longest time
are removed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
import torch
from torch import Tensor

from rl_il.errors import InputError
from rl_il.files import atomic_write
from rl_il.infrastructure.compile_check import agrees
from rl_il.infrastructure.progress import clock
from rl_il.infrastructure.recorded import describe_graph

CACHE = "RL_IL_CACHE"  # the environment variable that names the folder
MAX_BYTES = 200 * 10**6  # of all libraries; one has about 1.5 MB
VERSION = 2  # of `build`: another one makes other libraries of the same graph
NAME = re.compile(r"[0-9a-f]{32}-([0-9a-f]{32}\.\w+|failed\.txt)")  # of a file in the cache
OPTIONS = {
    # Else the inductor compiles two programs to find out which instructions the processor knows. Torch knows it.
    "cpp.vec_isa_ok": True,
    # A precompiled header has 150 MB, and takes as long as it saves in three compilations.
    "aot_inductor.precompile_headers": False,
    # The optimisation of the code that calls the kernels: O0 saves half a second, but the steps take 15 % longer.
    "aot_inductor.compile_wrapper_opt_level": "O1",
}
WHAT = "compiling the gradient step (only once for each network shape on this machine)"
FAILED = "-failed.txt"  # the end of the name of a file that says why a step is not compiled here
CRASHES = [getattr(signal, name, None) for name in ("SIGSEGV", "SIGBUS", "SIGILL", "SIGABRT", "SIGFPE")]
TRIAL_SECONDS = 120
TRIAL = """
import sys, torch
torch.manual_seed(0)
tensors = torch.load(sys.argv[2])
results = torch._C._aoti.AOTIModelContainerRunnerCpu(sys.argv[1], 1).run(tensors)
torch.save([*tensors, *results], sys.argv[2])
"""
Step = Callable[..., tuple[Tensor, ...]]
Library = Callable[[list[Tensor]], list[Tensor]]
_loaded: dict[str, Library] = {}  # the libraries of this process, by name


class CompileError(RuntimeError):
    """An error because a step cannot be compiled on this machine or for this policy. The message says why."""


def compiled_step(step: Step, inputs: Sequence[Tensor], rewrites: dict[Any, Callable]) -> Library:
    """Return `step`, compiled for tensors like `inputs` on the CPU, as a function of a list of tensors.

    It comes from the cache if it was compiled before. If several processes need it, one compiles and the others wait.

    Args:
      step: a function of tensors that returns a tuple of tensors. It may change its arguments in place.
      inputs: example arguments. They are not changed.
      rewrites: functions that replace operations of torch in the step.

    Raise `CompileError` if there is no compiler, and exceptions of many classes if torch cannot compile the step.
    """
    changes = [(str(operation), describe_graph(other, [torch.zeros(1)])) for operation, other in rewrites.items()]
    folder, name = cache_folder(), key_of(step, inputs, f"{find_compiler()} {changes}")
    if name not in _loaded:
        _loaded[name] = load(folder, name) or _compile(step, inputs, rewrites, folder, name)
    return _loaded[name]


def _compile(step: Step, inputs: Sequence[Tensor], rewrites: dict[Any, Callable], folder: Path, name: str) -> Library:
    """Compile the step and keep the library. Wait if another process does so, and then load what it made."""
    with clock(WHAT), _alone(folder, name):
        if (library := load(folder, name, repair=True)) is not None:
            return library
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            built = build(step, inputs, rewrites, scratch)
            try_out(built, step, inputs, folder / f"{name}{FAILED}")
            return open_library(keep(built, folder, name))


def cache_folder() -> Path:
    """Return the folder of the compiled steps."""
    if os.environ.get(CACHE):
        return Path(os.environ[CACHE]).expanduser().absolute()
    import platformdirs

    return platformdirs.user_cache_path("rl_il", appauthor=False)


def find_compiler() -> str:
    """Return a text that identifies the C++ compiler. Raise `CompileError` if there is none."""
    wanted = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    found = shutil.which(wanted)
    if found is None:
        raise CompileError(f"there is no C++ compiler ({wanted}) on this machine")
    file = os.stat(found)
    return f"{os.path.realpath(found)} {file.st_size} {file.st_mtime_ns}"


def key_of(step: Step, inputs: Sequence[Tensor], settings: str) -> str:
    """Return a checksum of all that decides what the library is: the graph, the settings, torch and the machine."""
    torch_version = (torch.__version__, torch.version.git_version, torch.get_num_threads())
    machine = (platform.system(), platform.machine(), torch.backends.cpu.get_cpu_capability(), processor_features())
    text = repr((VERSION, settings, sorted(OPTIONS.items()), torch_version, machine, describe_graph(step, inputs)))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def processor_features() -> str:
    """Return the instructions that the processor knows, all of which the compiler may use; else its name."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(("flags", "Features")):
                return line
    return platform.processor()


def build(step: Step, inputs: Sequence[Tensor], rewrites: dict[Any, Callable], scratch: str) -> Path:
    """Compile the step in the folder `scratch`, and return the path of the library."""
    import torch._inductor
    from torch.fx.experimental.proxy_tensor import make_fx

    options = {name: value for name, value in OPTIONS.items() if name in torch._inductor.list_options()}
    with _environment("TORCHINDUCTOR_CACHE_DIR", scratch), warnings.catch_warnings(), _changes_in_order():
        warnings.simplefilter("ignore")  # torch's notes for its developers
        graph = make_fx(step, decomposition_table=rewrites, tracing_mode="fake")(*inputs)
        try:
            return Path(torch._inductor.aot_compile(graph, tuple(inputs), options=options))
        except Exception:  # Ctrl-C ends the compiler's processes too, or the compiler is older than the processor
            options.pop("cpp.vec_isa_ok", None)
            return Path(torch._inductor.aot_compile(graph, tuple(inputs), options=options))


@contextmanager
def _changes_in_order() -> Iterator[None]:
    """Mend a fault of torch 2.13 in the `with` block: https://github.com/pytorch/pytorch/issues/185509.

    When two loops become one, the inductor may forget that the second one reads a tensor after it was changed in
    place. With dropout after layer normalisation, a layer then used its mask before the mask was drawn.
    """
    from torch._inductor.scheduler import SchedulerNode

    recompute = SchedulerNode.recompute_size_and_body

    def recompute_and_rename(node: SchedulerNode, *args: Any, **named: Any) -> None:
        recompute(node, *args, **named)
        node.set_read_writes(node.read_writes.rename(node.mutation_renames))

    SchedulerNode.recompute_size_and_body = recompute_and_rename
    try:
        yield
    finally:
        SchedulerNode.recompute_size_and_body = recompute


def try_out(library: Path, step: Step, inputs: Sequence[Tensor], failure: Path) -> None:
    """Call the library in another process, since it may crash, for instance if libstdc++ is linked into it.

    Raise `CompileError` if it fails. If it crashed, or computed something else than `step`, also write the reason to
    the file `failure`, so that it is not compiled again in each run.
    """
    file = library.with_suffix(".tensors")
    torch.save([*inputs], file)
    command = [sys.executable, "-c", TRIAL, str(library), str(file)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    try:
        status = subprocess.run(command, cwd=library.parent, timeout=TRIAL_SECONDS, **quiet).returncode
    except subprocess.TimeoutExpired as error:
        raise CompileError(f"the compiled step did not answer within {TRIAL_SECONDS} s") from error
    if -status in CRASHES:
        _refuse(f"crashes on this machine (signal {-status})", failure)
    if status:
        raise CompileError(f"the compiled step fails on this machine (status {status})")
    if not agrees(torch.load(file), step, inputs):
        _refuse("computes something else than the eager step", failure)


def _refuse(problem: str, failure: Path) -> None:
    """Write to the file `failure` what is wrong with the compiled step, and raise `CompileError`."""
    reason = f"the compiled step {problem}; to compile it again, remove {failure}"
    with suppress(InputError), atomic_write(failure) as file:
        file.write(reason.encode())
    raise CompileError(reason)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set an environment variable in the `with` block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        os.environ.update({} if before is None else {name: before})


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Wait until no other process compiles this library. Do not wait where the folder or its files cannot be locked.

    The names of the lock files have two letters, so that there are never more than 256. They are never removed.
    """
    with ExitStack() as stack:
        with suppress(OSError, NotImplementedError):
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(filelock.FileLock(folder / f"{name[:2]}.lock"))
        yield


def load(folder: Path, name: str, repair: bool = False) -> Library | None:
    """Return the library with this name, or None if there is none or it is damaged.

    With `repair`, remove a damaged one and say so. Raise `CompileError` if the step was compiled before and crashed.
    """
    for path in folder.glob(f"{name}-*"):
        try:
            if path.name == f"{name}{FAILED}":
                raise CompileError(path.read_text(encoding="utf-8"))
            if path.stem == f"{name}-{checksum(path)}":
                library = open_library(path)
                with suppress(OSError):
                    os.utime(path)  # the time of its last use
                return library
            problem = "it is damaged"
        except CompileError:
            raise
        except (OSError, RuntimeError) as error:  # it was removed, cannot be read, or was made on another machine
            problem = str(error).splitlines()[0]
        if repair and path.exists():
            print(f"note: {path} is compiled again: {problem}", file=sys.stderr)
            with suppress(OSError):
                path.unlink()
    return None


def open_library(path: Path) -> Library:
    """Return the function in a library."""
    return torch._C._aoti.AOTIModelContainerRunnerCpu(str(path), 1).run


def keep(library: Path, folder: Path, name: str) -> Path:
    """Copy the library into the cache and return its path there; if that cannot be written, its path outside."""
    path = folder / f"{name}-{checksum(library)}{library.suffix}"
    try:
        with atomic_write(path) as file:
            file.write(library.read_bytes())
        remove_oldest(folder, path)
    except (InputError, OSError):  # a disk that is full or may only be read
        return library
    return path


def remove_oldest(folder: Path, new: Path) -> None:
    """Remove the libraries that were not used for the longest time until at most `MAX_BYTES` are left, but not `new`.

    Other files in the folder belong to somebody else.
    """
    files = [(path.stat(), path) for path in folder.iterdir() if NAME.fullmatch(path.name) and path != new]
    left = new.stat().st_size + sum(status.st_size for status, _ in files)
    for status, path in sorted(files, key=lambda file: file[0].st_mtime):
        if left <= MAX_BYTES:
            return
        path.unlink(missing_ok=True)
        left -= status.st_size


def checksum(path: Path) -> str:
    """Return the first half of a file's SHA-256, as text."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]

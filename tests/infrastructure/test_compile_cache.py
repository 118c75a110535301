"""The cache of compiled steps: names, damaged libraries, folders that cannot be written, many processes."""

import errno
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_compiled import stored
from torch import nn

from rl_il.infrastructure import compile_cache
from rl_il.infrastructure.compile_cache import (
    CACHE,
    CompileError,
    cache_folder,
    compiled_step,
    find_compiler,
    key_of,
    load,
)
from rl_il.infrastructure.compile_check import agrees
from rl_il.infrastructure.compiled import CompiledUpdate
from rl_il.policies.mlp_policy import MLPPolicySL


def double(x, total):
    """Add 2 x to `total` in place, and return its sum."""
    total += 2 * x
    return (total.sum(),)


def ones():
    return [torch.ones(3), torch.zeros(3)]


def doubled(library):
    """Return what the library of `double` returns, and what it makes of `total`."""
    inputs = ones()
    (result,) = library(inputs)
    return result.item(), inputs[1].tolist()


TRY_OUT = compile_cache.try_out
RESULT = (6.0, [2.0, 2.0, 2.0])


class Forgetful(dict):
    """What a process has loaded, as if each look came from a new process."""

    def __contains__(self, name):
        return False


@pytest.fixture(scope="session")
def compiled_double(tmp_path_factory):
    """Return the path of a library of `double`."""
    scratch = tmp_path_factory.mktemp("scratch")
    return Path(compile_cache.build(double, ones(), {}, str(scratch)))


@pytest.fixture
def builds(compiled_double, monkeypatch, tmp_path):
    """Use a new cache folder, and copy the library instead of compiling. Return the list of the times it was done."""
    built = []

    def build(step, inputs, rewrites, scratch):
        built.append(scratch)
        return Path(shutil.copy(compiled_double, scratch))

    monkeypatch.setattr(compile_cache, "build", build)
    monkeypatch.setattr(compile_cache, "try_out", lambda *_: None)
    monkeypatch.setattr(compile_cache, "_loaded", Forgetful())
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    return built


def libraries(folder=None):
    return [path for path in sorted((folder or cache_folder()).glob("*")) if path.suffix != ".lock"]


def test_a_step_is_compiled_once_and_then_loaded(builds, capsys):
    assert doubled(compiled_step(double, ones(), {})) == RESULT
    assert "once" in capsys.readouterr().err
    assert doubled(compiled_step(double, ones(), {})) == RESULT
    assert capsys.readouterr().err == ""
    assert len(builds) == len(libraries()) == 1
    assert not Path(builds[0]).exists()


def test_another_graph_is_compiled_again(builds):
    compiled_step(double, ones(), {})
    compiled_step(double, [torch.ones(4), torch.zeros(4)], {})
    assert len(builds) == len(libraries()) == 2


def replace(path, content):
    """Replace the file. To change it in its place would damage the library that this process has loaded."""
    path.unlink()
    path.write_bytes(content)


def cut(path):
    replace(path, path.read_bytes()[:1000])


def change_a_byte(path):
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    replace(path, content)


def put_a_foreign_one(path):
    """Replace the library by one that is complete but belongs to another system."""
    replace(path, b"MZ" + bytes(100))
    path.rename(path.with_name(f"{path.stem.partition('-')[0]}-{compile_cache.checksum(path)}{path.suffix}"))


@pytest.mark.parametrize("damage", [cut, change_a_byte, put_a_foreign_one])
def test_a_damaged_or_foreign_library_is_compiled_again(damage, builds, capsys):
    compiled_step(double, ones(), {})
    (path,) = libraries()
    damage(path)
    capsys.readouterr()
    assert doubled(compiled_step(double, ones(), {})) == RESULT
    assert "note:" in capsys.readouterr().err
    assert len(builds) == 2
    assert libraries() == [path]  # the damaged one is gone
    assert doubled(load(cache_folder(), path.stem.partition("-")[0])) == RESULT


def fail(number):
    def failing(*args, **named):
        raise OSError(number, os.strerror(number))

    return failing


@pytest.mark.parametrize(("call", "number"), [("write", errno.ENOSPC), ("mkstemp", errno.EROFS)])
def test_a_full_disk_or_a_read_only_folder_costs_only_the_time_to_compile(call, number, builds, monkeypatch):
    cache_folder().mkdir()
    if call == "mkstemp":
        monkeypatch.setattr("rl_il.files.tempfile.mkstemp", fail(number))
    else:
        monkeypatch.setattr("rl_il.files.os.fsync", fail(number))
    assert doubled(compiled_step(double, ones(), {})) == RESULT
    assert libraries() == []
    assert doubled(compiled_step(double, ones(), {})) == RESULT
    assert len(builds) == 2


def test_a_library_that_works_is_accepted(compiled_double, tmp_path):
    library = Path(shutil.copy(compiled_double, tmp_path))
    compile_cache.try_out(library, double, ones(), tmp_path / "failed.txt")
    assert not (tmp_path / "failed.txt").exists()


def triple(x, total):
    total += 3 * x
    return (total.sum(),)


def test_a_library_that_computes_something_else_is_refused(compiled_double, tmp_path):
    library = Path(shutil.copy(compiled_double, tmp_path))
    with pytest.raises(CompileError, match="eager"):
        compile_cache.try_out(library, triple, ones(), tmp_path / "failed.txt")
    assert (tmp_path / "failed.txt").exists()


def with_noise(x, total):
    total += 2 * x + torch.randn_like(x)
    return (total.sum(),)


def with_dropout(x, total):
    total += nn.functional.dropout(2 * x, 0.5)
    return (total.sum(),)


@pytest.mark.parametrize(
    ("found", "step", "same"),
    [
        ([1, 2, 6], double, True),
        ([1, 2, 6.001], double, True),
        ([1, 2, 5], double, False),
        ([1, 2.3, 6], double, False),
        ([1, 0, 6], double, False),
        ([1, 2, math.nan], double, False),
        ([1, 9, 9], with_noise, True),  # the compiler draws other random numbers
        ([1, 9, math.inf], with_noise, False),
        ([1, 0, 0], with_dropout, False),
    ],
)
def test_what_a_library_computes_is_compared_with_the_eager_step(found, step, same):
    x, total, result = found
    tensors = [torch.full((3,), float(x)), torch.full((3,), float(total)), torch.tensor(float(result))]
    assert agrees(tensors, step, ones()) is same


CRASH, INTERRUPTION = "import os; os.kill(os.getpid(), 11)", "import os; os.kill(os.getpid(), 15)"


@pytest.mark.parametrize(("program", "times"), [(CRASH, 1), (INTERRUPTION, 2), ("raise MemoryError", 2)])
def test_a_library_that_crashes_ends_only_the_trial_and_is_not_compiled_again(
    program, times, builds, monkeypatch, compiled_double
):
    monkeypatch.setattr(compile_cache, "try_out", TRY_OUT)
    monkeypatch.setattr(compile_cache, "TRIAL", program)
    for _ in range(2):
        with pytest.raises(CompileError, match=r"crash|fail"):
            compiled_step(double, ones(), {})
    assert len(builds) == times
    assert [path.name.endswith("failed.txt") for path in libraries()] == [True] * (times == 1)


def test_a_compiler_that_fails_is_called_again_with_the_inductors_own_checks(compiled_double, monkeypatch, tmp_path):
    given = []

    def killed_once(graph, inputs, options):
        given.append([*options])
        if len(given) == 1:
            raise RuntimeError("g++ was killed")
        return compiled_double

    monkeypatch.setattr("torch._inductor.aot_compile", killed_once)
    assert compile_cache.build(double, ones(), {}, str(tmp_path)) == compiled_double
    assert ["cpp.vec_isa_ok" in each for each in given] == [True, False]


def test_files_of_others_in_the_folder_are_left_alone(builds, monkeypatch):
    monkeypatch.setattr(compile_cache, "MAX_BYTES", 10)
    cache_folder().mkdir()
    (cache_folder() / "thesis.pdf").write_bytes(bytes(100))
    compiled_step(double, ones(), {})
    assert (cache_folder() / "thesis.pdf").exists()
    assert len(libraries()) == 2  # the new library is kept too


def test_a_process_compiles_once_even_if_nothing_can_be_kept(builds, monkeypatch, tmp_path):
    monkeypatch.setattr(compile_cache, "_loaded", {})
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE, str(tmp_path / "file" / "cache"))
    for _ in range(3):
        assert doubled(compiled_step(double, ones(), {})) == RESULT
    assert len(builds) == 1


def test_a_cache_folder_that_cannot_be_made_costs_only_the_time_to_compile(builds, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE, str(tmp_path / "file" / "cache"))
    assert doubled(compiled_step(double, ones(), {})) == RESULT
    assert len(builds) == 1


def test_the_libraries_that_were_not_used_for_longest_are_removed(builds, compiled_double, monkeypatch):
    size = compiled_double.stat().st_size
    monkeypatch.setattr(compile_cache, "MAX_BYTES", 2 * size)
    names = []
    for n in (3, 4):
        compiled_step(double, [torch.ones(n), torch.zeros(n)], {})
        (new,) = {*libraries()} - {*names}
        names.append(new)
        os.utime(new, (n, n))
    compiled_step(double, [torch.ones(3), torch.zeros(3)], {})  # used again, so it is the newer one
    compiled_step(double, [torch.ones(5), torch.zeros(5)], {})
    assert names[0] in libraries() and names[1] not in libraries()
    assert len(libraries()) == 2


def test_the_name_depends_on_the_compiler_and_the_threads(monkeypatch):
    key = key_of(double, ones(), "gcc")
    assert key_of(double, ones(), "gcc") == key
    assert key_of(double, ones(), "clang") != key
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    assert key_of(double, ones(), "gcc") != key


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (compile_cache, "processor_features", lambda: "flags: none"),
        (compile_cache, "VERSION", 0),
        (compile_cache, "OPTIONS", {}),
        (torch, "__version__", "2.99"),
    ],
)
def test_the_name_depends_on_torch_and_the_machine(owner, name, value, monkeypatch):
    key = key_of(double, ones(), "gcc")
    monkeypatch.setattr(owner, name, value)
    assert key_of(double, ones(), "gcc") != key


def test_the_name_depends_on_what_replaces_an_operation(builds):
    compiled_step(double, ones(), {torch.ops.aten.tanh.default: lambda x: 2 * x})
    compiled_step(double, ones(), {torch.ops.aten.tanh.default: lambda x: 3 * x})
    assert len(builds) == 2


def test_another_compiler_has_another_text(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "my-compiler")
    (tmp_path / "my-compiler").write_text("one")
    (tmp_path / "my-compiler").chmod(0o755)
    first = find_compiler()
    (tmp_path / "my-compiler").write_text("another")
    assert find_compiler() != first


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(CACHE, "~/steps")
    assert cache_folder() == tmp_path / "steps"
    monkeypatch.setenv(CACHE, "")
    assert cache_folder().name == "rl_il" and cache_folder().is_absolute()


@pytest.mark.slow
def test_a_cold_and_a_warm_cache_give_equal_weights(monkeypatch, tmp_path):
    buffer, weights = stored(), []
    rows = [*buffer.draws(64, np.random.default_rng(0), 200)]
    for folder in ("first", "first", "second"):  # compiled, loaded, compiled again
        monkeypatch.setenv(CACHE, str(tmp_path / folder))
        policy = MLPPolicySL((4,), 3, False, seed=3, size=32)
        step = CompiledUpdate(policy, 64).on(buffer, buffer.batch)
        losses = torch.stack([step(each) for each in rows])
        weights.append([*policy.state_dict().values(), losses])
    for other in weights[1:]:
        assert all(map(torch.equal, weights[0], other))


PROGRAM = """
import sys
import torch
sys.path[:0] = sys.argv[1:]
from test_compile_cache import double, doubled, ones
from rl_il.infrastructure.compile_cache import compiled_step
torch.set_num_threads(1)
print(doubled(compiled_step(double, ones(), {})))
"""


COMPILER = """#!/bin/sh
case "$*" in *wrapper.cpp*) echo built >> "$BUILT" ;; esac
exec g++ "$@"
"""


@pytest.mark.slow
def test_many_processes_at_once_compile_one_library(tmp_path):
    (tmp_path / "compiler").write_text(COMPILER)
    (tmp_path / "compiler").chmod(0o755)
    paths = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    command = [sys.executable, "-c", PROGRAM, *paths]
    environment = os.environ | {CACHE: str(tmp_path / "cache"), "CXX": str(tmp_path / "compiler")}
    run = {"stdout": subprocess.PIPE, "encoding": "utf-8", "env": environment | {"BUILT": str(tmp_path / "built")}}
    processes = [subprocess.Popen(command, **run) for _ in range(8)]
    outputs = [process.communicate()[0].strip() for process in processes]
    assert outputs == [str(RESULT)] * 8
    assert (tmp_path / "built").read_text() == "built\n"
    assert len(libraries(tmp_path / "cache")) == 1

import io
import os
import pickle
import subprocess
import sys
import time
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from course_files import RunsCode

from rl_il.errors import InputError
from rl_il.infrastructure.torch_file import read_torch
from rl_il.policies.mlp_policy import MLPPolicySL


def saved(value):
    data = io.BytesIO()
    torch.save(value, data)
    return data.getvalue()


def read(data):
    return read_torch(io.BytesIO(data))


def changed(data, change, member="data.pkl"):
    """The file with one member changed, and every checksum right."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(result, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name.endswith(f"/{member}") else content)
    return result.getvalue()


DTYPES = "float32 float64 float16 int64 int32 int16 int8 uint8 bool".split()


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_come_back_as_arrays_of_their_own(dtype):
    tensor = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype))
    array = read(saved({"a": tensor}))["a"]
    assert array.dtype == tensor.numpy().dtype and array.flags.writeable
    np.testing.assert_array_equal(array, tensor.numpy())


def test_bfloat16_comes_back_as_single_precision():
    array = read(saved({"a": torch.tensor([[1.5, -2.25], [3e38, 1 / 3]], dtype=torch.bfloat16).T}))["a"]
    assert array.dtype == np.float32
    np.testing.assert_array_equal(
        array, [[1.5, np.float32(torch.tensor(3e38).bfloat16().item())], [-2.25, 0.333984375]]
    )


def test_views_of_one_storage_come_back_equal():
    whole = torch.arange(12.0).reshape(3, 4)
    views = {
        "whole": whole,
        "t": whole.T,
        "row": whole[1],
        "column": whole[:, 2],
        "step": whole[::2, ::3],
        "one": whole[2, 3],
    }
    loaded = read(saved(views))
    for name, tensor in views.items():
        np.testing.assert_array_equal(loaded[name], tensor.numpy(), err_msg=name)


def test_everything_around_tensors_comes_back_equal():
    value = {"a": (1, [2.5, None], "x", True), 3: -1, "state": OrderedDict(w=torch.ones(2), n=torch.zeros(0))}
    loaded = read(saved(value))
    assert loaded["a"] == value["a"] and loaded[3] == -1
    assert list(loaded["state"]) == ["w", "n"] and loaded["state"]["n"].shape == (0,)


def test_a_module_s_state_with_its_parameters_is_read():
    module = torch.nn.Linear(2, 3)
    for value in (module.state_dict(), {name: p for name, p in module.named_parameters()}):
        loaded = read(saved(value))
        np.testing.assert_array_equal(loaded["weight"], module.weight.detach().numpy())


def test_reading_does_not_import_torch(tmp_path):
    (tmp_path / "x.pt").write_bytes(saved({"a": torch.ones(2)}))
    code = "import sys; from pathlib import Path; from rl_il.infrastructure.torch_file import read_torch;"
    code += f"assert read_torch(Path({str(tmp_path / 'x.pt')!r}))['a'].sum() == 2; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


ONES = saved({"a": torch.ones(3)})
NUMEL, SIZE, STRIDE = b"K\x03tq", b"QK\x00K\x03\x85", b"\x85q\x0cK\x01\x85"
LIES = {
    "more numbers than there are": lambda p: p.replace(b"K\x03t", b"J\x00\x00\x00\x10t"),
    "fewer numbers": lambda p: p.replace(b"K\x03t", b"K\x02t"),
    "negative numbers": lambda p: p.replace(b"K\x03t", b"J\xff\xff\xff\xfft"),
    "a size of a gigabyte": lambda p: p.replace(b"QK\x00K\x03\x85", b"QK\x00J\x00\x00\x00\x10\x85"),
    "a negative size": lambda p: p.replace(b"QK\x00K\x03\x85", b"QK\x00J\xff\xff\xff\xff\x85"),
    "an offset": lambda p: p.replace(b"QK\x00", b"QK\x01"),
    "an offset far away": lambda p: p.replace(b"QK\x00", b"QJ\x00\x00\x00\x10"),
    "a negative offset": lambda p: p.replace(b"QK\x00", b"QJ\xff\xff\xff\xff"),
    "a stride": lambda p: p.replace(b"K\x01\x85", b"K\x02\x85"),
    "more dimensions than strides": lambda p: p.replace(b"K\x03\x85", b"K\x03K\x01\x86"),
    "another type": lambda p: p.replace(b"FloatStorage", b"LongStorage\n"[:-1]),
    "a class": lambda p: p.replace(b"FloatStorage", b"nn.Module"),
    "another storage": lambda p: p.replace(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x009"),
    "no storage": lambda p: p.replace(b"torch._utils\n_rebuild_tensor_v2", b"collections\nOrderedDict"),
    "a name": lambda p: p.replace(b"torch._utils\n_rebuild_tensor_v2", b"os\nsystem"),
    "a tuple of tuples as a key": lambda p: b"\x80\x02}N" + b"2\x86" * 60 + b"Ns.",
    "a deep tuple as a key": lambda p: b"\x80\x02}N" + b"\x85" * 200_000 + b"Ns.",
    "shared lists": lambda p: b"\x80\x02]" + b"2\x86" * 60 + b".",
    "no end": lambda p: p[:-1],
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_about_tensors_are_refused_at_once(lie):
    data = changed(ONES, LIES[lie])
    assert data != changed(ONES, lambda p: p), "the test's own bytes are out of date"
    started = time.monotonic()
    with pytest.raises(InputError):
        read(data)
    assert time.monotonic() - started < 10


def test_a_stride_of_zero_makes_no_tensor_larger_than_its_storage():
    with pytest.raises(InputError, match="more numbers than its storage"):
        read(saved({"a": torch.ones(4).expand(4, 4)}))


def test_one_storage_in_ten_thousand_tensors_is_refused():
    tensor = torch.ones(100_000)
    with pytest.raises(InputError, match="larger than the file"):
        read(saved([tensor.view(100_000) for _ in range(10_000)]))


def test_code_in_it_is_not_run(tmp_path):
    sentinel = tmp_path / "ran"
    for data in (saved({"a": RunsCode(sentinel)}), saved(torch.nn.Linear(1, 1))):
        with pytest.raises(InputError, match="which may run code; refused, and nothing was run"):
            read(data)
    with pytest.raises(InputError, match="pickled code, which is never run"):
        read(pickle.dumps(RunsCode(sentinel)))
    assert not sentinel.exists()


@pytest.mark.parametrize("value", [torch.ones(2, dtype=torch.complex64), {1, 2}, object])
def test_what_is_no_plain_number_is_refused(value):
    with pytest.raises(InputError):
        read(saved({"a": value}))


def test_a_file_of_torch_before_1_6_is_refused_with_a_hint():
    data = io.BytesIO()
    torch.save({"a": torch.ones(2)}, data, _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=r"written by torch before 1\.6"):
        read(data.getvalue())


# Checkpoints -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"size": 10**9},
        {"n_layers": 10**9},
        {"n_layers": 10**4, "size": 1},
        {"size": -1},
        {"size": True},
        {"size": "64"},
        {"ob_shape": (10**9,)},
        {"ob_shape": (10**5, 10**5, 10**5)},
        {"ob_shape": (0,) * 100},
        {"ob_shape": 2},
        {"ac_dim": 10**9},
        {"activation": ["tanh"]},
        {"loss": {"a": 1}},
        {"seed": "x"},
        {"seed": 10**400},
        {"device": "cpu"},
        {"learning_rate": [1]},
    ],
)
def test_hyperparameters_of_another_network_are_refused_before_it_is_made(tmp_path, change):
    MLPPolicySL((2,), 3, True).save(tmp_path / "x.pt")
    content = torch.load(tmp_path / "x.pt", weights_only=True)
    torch.save(content | {"hyperparameters": content["hyperparameters"] | change}, tmp_path / "x.pt")
    started = time.monotonic()
    with pytest.raises(InputError) as error:
        MLPPolicySL.load(tmp_path / "x.pt")
    assert str(error.value).startswith(f"{tmp_path / 'x.pt'}: ") and str(error.value).isprintable()
    assert time.monotonic() - started < 10


def test_a_checkpoint_equals_the_policy_that_was_saved(tmp_path):
    policy = MLPPolicySL((2, 3), 4, False, n_layers=3, size=7, loss="nll", seed=5)
    policy.save(tmp_path / "x.pt")
    loaded = MLPPolicySL.load(tmp_path / "x.pt")
    assert loaded.hyperparameters() == policy.hyperparameters()
    for name, tensor in policy.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert os.path.getsize(tmp_path / "x.pt") > 0

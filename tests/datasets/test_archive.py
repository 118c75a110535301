import io
import struct
import zipfile

import numpy as np
import pytest

from rl_il.datasets import load_trajectories
from rl_il.datasets.archive import open_archive, read_member
from rl_il.datasets.npz import read_npz
from rl_il.errors import InputError

CONTENT = b"content" * 100


def archive(method=zipfile.ZIP_DEFLATED, content=CONTENT):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as file:
        file.writestr("a", content)
        file.writestr("b", content)
    return data.getvalue()


def with_field(data, offset, size, value):
    """The first member's field in the central directory, overwritten."""
    place = data.index(b"PK\x01\x02") + offset
    return data[:place] + value.to_bytes(size, "little") + data[place + size :]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_good_archive_is_read(method):
    with open_archive(io.BytesIO(archive(method))) as file:
        assert [read_member(file, name) for name in "ab"] == [CONTENT, CONTENT]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_are_refused(method):
    with (
        pytest.raises(InputError, match="packed by a method that is not read"),
        open_archive(io.BytesIO(archive(method))),
    ):
        pass


@pytest.mark.parametrize(
    ("offset", "size", "value", "words"),
    [
        (8, 2, 1, "encrypted"),
        (10, 2, 99, "a method that is not read"),
        (20, 4, 2**31, "announces 2,147,483,648 bytes of 'a'"),
        (24, 4, 2**31, "announces 2,147,483,648 bytes of 'a', which"),
    ],
)
def test_lies_are_refused(offset, size, value, words):
    with (
        pytest.raises(InputError, match=words),
        open_archive(io.BytesIO(with_field(archive(), offset, size, value))),
    ):
        pass


def test_members_that_are_too_large_together_are_refused():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for i in range(3):
            file.writestr(f"{i}", bytes(50_000_000))
    with pytest.raises(InputError, match="would unpack to 150,000,000 bytes"), open_archive(data):
        pass


def test_no_more_is_unpacked_than_announced():
    data = with_field(archive(content=bytes(1_000_000)), 24, 4, 10)
    with open_archive(io.BytesIO(data)) as file, pytest.raises(zipfile.BadZipFile, match="CRC"):
        read_member(file, "a")


def test_a_member_above_its_own_limit_is_refused():
    with open_archive(io.BytesIO(archive())) as file, pytest.raises(InputError, match="expected at most 10"):
        read_member(file, "a", 10)


# Arrays in archives ----------------------------------------------------------------------------------------


def npy(header, body=b"", version=(1, 0)):
    header = header.encode() + b"\n"
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header + body


HEADERS = {
    "a shape of a terabyte": "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}",
    "a shape too short": "{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}",
    "a negative shape": "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -2)}",
    "a dtype of a gigabyte": "{'descr': '|V1000000000', 'fortran_order': False, 'shape': (1,)}",
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (2,)}",
    "nothing times everything": "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 10**18)}",
    "code": "__import__('os').system('touch ran')",
    "parentheses": "(" * 900,
    "minus signs": "-" * 900 + "1",
    "a long header": "{" + " " * 60000 + "}",
    "not a dict": "[1]",
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_lies_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("x.npz", "w") as file:
        file.writestr("observations.npy", npy(HEADERS[name], bytes(16)))
    for read in (read_npz, load_trajectories):
        with pytest.raises(InputError):
            read(tmp_path / "x.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["x.npz"]


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_both_versions_of_the_header_are_read(tmp_path, version):
    expected = np.arange(6, dtype=np.float32).reshape(2, 3)
    for order in (False, True):
        data = io.BytesIO()
        np.lib.format.write_array(data, np.asfortranarray(expected) if order else expected, version)
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
            file.writestr("a.npy", data.getvalue())
        np.testing.assert_array_equal(read_npz(tmp_path / "x.npz")["a"], expected)


def test_text_that_is_no_unicode_is_refused(tmp_path):
    header = "{'descr': '<U2', 'fortran_order': False, 'shape': ()}"
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("meta.npy", npy(header, b"{\0\0\0\0\0\x11\0"))
    with pytest.raises(InputError, match="no Unicode"):
        read_npz(tmp_path / "x.npz")


def test_a_later_version_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("a.npy", npy("{}", version=(3, 0)))
    with pytest.raises(InputError, match=r"version \(3, 0\)"):
        read_npz(tmp_path / "x.npz")


def test_a_member_that_is_no_array_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("observations", b"text")
    with pytest.raises(InputError, match=r"not a readable \.npz"):
        read_npz(tmp_path / "x.npz")

import copyreg
import pickle
import pickletools
import struct

import numpy as np
import pytest
from course_files import PROTOCOLS, RunsCode, demonstrations, expert_tree, write_demonstrations, write_pickle

from rl_il.datasets import load_trajectories, safe_pickle
from rl_il.datasets.safe_pickle import load_pickle
from rl_il.errors import InputError
from rl_il.policies.experts import load_actor


def assert_same_tree(got, expected):
    if isinstance(expected, dict):
        assert list(got) == list(expected)
        for key in expected:
            assert_same_tree(got[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert isinstance(got, list) and len(got) == len(expected)
        for g, e in zip(got, expected, strict=True):
            assert_same_tree(g, e)
    elif isinstance(expected, (np.ndarray, np.generic)):
        assert type(got) is type(expected)
        assert got.dtype == expected.dtype and got.dtype.isnative
        np.testing.assert_array_equal(got, expected)
    else:
        assert type(got) is type(expected) and got == expected


TREES = {
    "2022": demonstrations(2022),
    "2023": demonstrations(2023),
    "expert": expert_tree(),
    "plain": {"a": [1, 2.5, "x", None, True, b"\xff", b"", (3,)], "long": 2**80, "shared": [[1.0]] * 2},
    "arrays": {
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "strided": np.arange(10.0)[::3],
        "big endian": np.arange(3, dtype=">f4").astype(">f4"),
        "empty": np.zeros((0, 3), np.float32),
        "zero-dimensional": np.array(2.0),
        "bool": np.array([True, False]),
        "int": np.array([-1, 2], np.int16),
        "scalars": [np.float64(0.5), np.float32(-1), np.int64(7), np.bool_(True)],
    },
}


def native(tree):
    if isinstance(tree, dict):
        return {key: native(value) for key, value in tree.items()}
    return tree.astype(tree.dtype.newbyteorder("=")) if isinstance(tree, np.ndarray) else tree


@pytest.mark.parametrize("old_names", [True, False])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", TREES)
def test_every_protocol_and_both_numpy_names_load_equal(tmp_path, name, protocol, old_names):
    path = write_pickle(tmp_path / "x.pkl", TREES[name], protocol, old_names)
    assert_same_tree(load_pickle(path), native(TREES[name]))


@pytest.mark.parametrize("name", ["2022", "2023", "expert"])
def test_bytes_written_by_python_2_load_equal(tmp_path, name):
    path = write_pickle(tmp_path / "x.pkl", TREES[name], 2, python2=True)
    assert b"_codecs" not in path.read_bytes()
    assert_same_tree(load_pickle(path), TREES[name])


@pytest.mark.parametrize(
    "protocol, old_names, spelling",
    [
        (2, True, "numpy.core.multiarray _reconstruct"),
        (2, False, "numpy._core.multiarray _reconstruct"),
        (3, True, "numpy.core.multiarray scalar"),
        (4, False, "numpy._core.multiarray scalar"),
        (5, True, "numpy.core.numeric _frombuffer"),
        (5, False, "numpy._core.numeric _frombuffer"),
    ],
)
def test_the_files_of_these_tests_hold_the_names_they_claim(tmp_path, protocol, old_names, spelling):
    data = write_pickle(tmp_path / "x.pkl", TREES["expert"], protocol, old_names).read_bytes()
    module, name = spelling.split()
    assert module.encode() in data and name.encode() in data
    assert (b"numpy._core" in data) is not old_names
    assert (b"numpy.core" in data) is old_names
    assert next(pickletools.genops(data))[1] == protocol


def test_loaded_arrays_may_be_written_to(tmp_path):
    loaded = load_pickle(write_pickle(tmp_path / "x.pkl", [np.zeros(3)], 5))
    loaded[0][:] = 1
    assert loaded[0].tolist() == [1, 1, 1]


# Attacks ---------------------------------------------------------------------------------------------------


def text(value):
    """The opcodes that push a string."""
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def stack_name(module, attribute):
    return text(module) + text(attribute) + b"\x93"


ARRAY, DTYPE = name("numpy", "ndarray"), name("numpy", "dtype")
RECONSTRUCT, SCALAR = name("numpy.core.multiarray", "_reconstruct"), name("numpy.core.multiarray", "scalar")
FROM_BUFFER, ENCODE = name("numpy.core.numeric", "_frombuffer"), name("_codecs", "encode")
DOUBLE = DTYPE + b"(" + text("f8") + b"I00\nI01\ntR"
EMPTY_ARRAY = RECONSTRUCT + b"(" + ARRAY + b"(I0\nt" + b"C\x01btR"
EIGHT_BYTES = b"C\x08" + b"\0" * 8
REAL_ARRAY = FROM_BUFFER + b"(" + EIGHT_BYTES + DOUBLE + b"(I1\nt" + text("C") + b"tR"
SECRET_EXTENSION = 240


def attacks(sentinel):
    touch = text(f"touch {sentinel}")
    write = text(f"open({str(sentinel)!r}, 'w')")
    import_and_touch = text(f"__import__('os').system('touch {sentinel}')")
    refused = {
        "os.system": name("os", "system") + b"(" + touch + b"tR.",
        "posix.system": name("posix", "system") + b"(" + touch + b"tR.",
        "os.system by STACK_GLOBAL": b"\x80\x04" + stack_name("os", "system") + touch + b"\x85R.",
        "subprocess.Popen by NEWOBJ": b"\x80\x02" + name("subprocess", "Popen") + b"(" + touch + b"t\x81.",
        "subprocess.Popen by NEWOBJ_EX": b"\x80\x04"
        + stack_name("subprocess", "Popen")
        + b"("
        + touch
        + b"t}"
        + text("shell")
        + b"\x88s\x92.",
        "INST": b"(" + f"S'touch {sentinel}'\nios\nsystem\n.".encode(),
        "OBJ": b"(" + name("os", "system") + touch + b"o.",
        "builtins.eval": name("builtins", "eval") + b"(" + write + b"tR.",
        "__builtin__.eval": name("__builtin__", "eval") + b"(" + write + b"tR.",
        "builtins.exec": name("builtins", "exec") + b"(" + write + b"tR.",
        "builtins.open": name("builtins", "open") + b"(" + text(str(sentinel)) + text("w") + b"tR.",
        "builtins.getattr": name("builtins", "getattr") + b"(" + ARRAY + text("tofile") + b"tR.",
        "nested getattr": name("builtins", "getattr")
        + b"("
        + name("builtins", "getattr")
        + b"("
        + ARRAY
        + text("__class__")
        + b"tR"
        + text("__subclasses__")
        + b"tR.",
        "dotted name": b"\x80\x04" + stack_name("numpy", "ndarray.tofile") + b")R.",
        "dotted name of bytes": b"\x80\x04" + stack_name("builtins", "bytes.__class__.__subclasses__") + b")R.",
        "dotted module": b"\x80\x04" + stack_name("numpy", "os.system") + touch + b"\x85R.",
        "operator.attrgetter": name("operator", "attrgetter") + b"(" + text("system") + b"tR.",
        "importlib.import_module": name("importlib", "import_module") + b"(" + text("os") + b"tR.",
        "functools.partial": name("functools", "partial") + b"(" + name("os", "system") + touch + b"tR)R.",
        "functools.reduce": name("functools", "reduce") + b"(" + ARRAY + b"]tR.",
        "copyreg.__newobj__": name("copyreg", "__newobj__") + b"(" + name("subprocess", "Popen") + touch + b"tR.",
        "copy_reg._reconstructor": name("copy_reg", "_reconstructor") + b"(" + ARRAY + DTYPE + b"NtR.",
        "copyreg.add_extension": name("copyreg", "add_extension") + b"(" + text("os") + text("system") + b"I241\ntR.",
        "EXT1": b"\x80\x02\x82" + bytes([SECRET_EXTENSION]) + b"(" + touch + b"tR.",
        "numpy.load": name("numpy", "load") + b"(" + text(str(sentinel)) + b"NI01\ntR.",
        "numpy runstring": name("numpy.testing._private.utils", "runstring") + b"(" + import_and_touch + b"}tR.",
        "numpy.core.multiarray.fromfile": name("numpy.core.multiarray", "fromfile") + b"(" + text("x") + b"tR.",
        "numpy matrix": RECONSTRUCT + b"(" + name("numpy", "matrix") + b"(I0\nt" + b"C\x01btR.",
        "numpy record array": RECONSTRUCT + b"(" + name("numpy", "recarray") + b"(I0\ntC\x01btR.",
        "numpy.ma": pickle.dumps(np.ma.masked_array([1.0], [True])),
        "this module": name("rl_il.datasets.safe_pickle", "load_pickle") + b"(" + text("x") + b"tR.",
        "an unpickler": name("pickle", "loads") + b"(" + EIGHT_BYTES + b"tR.",
        "bytearray": name("builtins", "bytearray") + b"(I10\ntR.",
        "__main__": name("__main__", "Thing") + b")R.",
    }
    refused |= {f"reduce, protocol {p}": pickle.dumps(RunsCode(sentinel), p) for p in range(6)}
    crooked = {
        "object array": pickle.dumps(np.array([RunsCode(sentinel)], dtype=object)),
        "empty object array": pickle.dumps(np.array([None], dtype=object), 2),
        "object array from a buffer": FROM_BUFFER
        + b"("
        + EIGHT_BYTES
        + DTYPE
        + b"("
        + text("O8")
        + b"tR(I1\nt"
        + text("C")
        + b"tR.",
        "object scalar": SCALAR + b"(" + DTYPE + b"(" + text("O8") + b"tR" + EIGHT_BYTES + b"tR.",
        "dtype of a structure": pickle.dumps(np.zeros(2, "f8,i4"), 2),
        "dtype of strings": pickle.dumps(np.array(["a"]), 2),
        "dtype of a class": DTYPE + b"(" + ARRAY + b"tR.",
        "dtype of a list": DTYPE + b"(((" + text("a") + text("O") + b"tltR.",
        "dtype as an array's class": RECONSTRUCT + b"(" + DTYPE + b"(I0\ntC\x01btR.",
        "array that is never filled": EMPTY_ARRAY + b".",
        "array larger than its bytes": EMPTY_ARRAY
        + b"(I1\n(L1000000000000L\nt"
        + DOUBLE
        + b"I00\n"
        + EIGHT_BYTES
        + b"tb.",
        "array of negative size": EMPTY_ARRAY + b"(I1\n(I-1\nI-1\nt" + DOUBLE + b"I00\n" + EIGHT_BYTES + b"tb.",
        "array state of a list": EMPTY_ARRAY + b"(I1\n(I1\nt" + DOUBLE + b"I00\n](Netb.",
        "array state without a dtype": EMPTY_ARRAY + b"(I1\n(I1\ntNI00\n" + EIGHT_BYTES + b"tb.",
        "state of a real array": REAL_ARRAY + b"(I1\n(I1\nt" + DOUBLE + b"I00\n" + EIGHT_BYTES + b"tb.",
        "byte order of a dtype": DOUBLE + b"(I3\n" + text("x") + b"NNNI-1\nI-1\nI0\ntb.",
        "BUILD on ndarray": ARRAY + b"}" + text("__setstate__") + text("x") + b"sb.",
        "BUILD on dtype": DTYPE + b"}" + text("_function") + text("x") + b"sb.",
        "BUILD on a function": ENCODE + b"(N}" + text("_function") + ARRAY + b"stb.",
        "BUILD through the memo": RECONSTRUCT + b"q\x000h\x00(N}" + text("_function") + ENCODE + b"stb.",
        "BUILD on bytes": name("builtins", "bytes") + b"}" + text("fromhex") + text("x") + b"sb.",
        "BUILD on a string": text("x") + b"}" + text("y") + text("z") + b"sb.",
        "NEWOBJ of an allowed name": b"\x80\x02" + ARRAY + b"(I1\nt\x81.",
        "OBJ of an allowed name, wrong arguments": b"(" + ENCODE + text("x") + text("rot13") + b"o.",
        "_codecs.encode rot13": ENCODE + b"(" + text("x") + text("rot13") + b"tR.",
        "_codecs.encode zlib": ENCODE + b"(" + EIGHT_BYTES + text("zlib") + b"tR.",
        "_codecs.encode without a codec": ENCODE + b"(" + text("x") + b"tR.",
        "_codecs.encode of no string": ENCODE + b"(" + ARRAY + text("latin1") + b"tR.",
        "bytes(10**10)": name("builtins", "bytes") + b"(L10000000000L\ntR.",
        "bytes(10**10) of Python 2": name("__builtin__", "bytes") + b"(L10000000000L\ntR.",
        "an allowed name left in the tree": b"(" + ARRAY + b"l.",
        "calling an array": REAL_ARRAY + b")R.",
        "calling a string": text("x") + b")R.",
        "APPENDS to a function": ARRAY + b"(" + text("x") + b"e.",
        "SETITEM on a function": ARRAY + text("x") + text("y") + b"s.",
        "a memo that is not there": b"h\x07.",
        "a list that holds itself": b"]q\x00h\x00a.",
        "a dict that holds itself": b"}q\x00" + text("x") + b"h\x00s.",
        "a set": b"\x80\x04\x8f(" + text("x") + b"\x90.",
        "PERSID": b"Pos.system\n.",
        "BINPERSID": text("os.system") + b"Q.",
        "EXT1 that nobody registered": b"\x80\x02\x82\x07.",
        "a buffer outside the file": b"\x80\x05\x97.",
        "ten gigabytes announced": b"\x80\x04\x8e" + struct.pack("<Q", 10**10) + b"x.",
        "protocol 9": b"\x80\x09N.",
        "a stack that runs dry": b"R.",
        "no end": b"N",
        "an empty file": b"",
        "text": b"observations, actions\n1, 2\n",
        "a zip": b"PK\x03\x04" + b"\0" * 40,
    }
    return refused, crooked


REFUSED, CROOKED = (list(table) for table in attacks("unused"))


@pytest.fixture
def extension():
    copyreg.add_extension("os", "system", SECRET_EXTENSION)
    yield
    copyreg.remove_extension("os", "system", SECRET_EXTENSION)
    copyreg._extension_cache.pop(SECRET_EXTENSION, None)


def allowed_functions():
    return {key: constructor._function for key, constructor in safe_pickle._ALLOWED.items()}


def assert_a_good_file_still_loads(folder):
    good = write_demonstrations(folder / "good.pkl", 2022)
    for trajectory, original in zip(load_trajectories(good), demonstrations(2022), strict=True):
        np.testing.assert_array_equal(trajectory.acs, original["action"])


@pytest.mark.parametrize("attack", REFUSED + CROOKED)
def test_an_attack_is_refused_and_runs_nothing(tmp_path, attack, extension, shared_env):
    sentinel = tmp_path / "ran"
    refused, crooked = attacks(sentinel)
    path = tmp_path / "attack.pkl"
    path.write_bytes((refused | crooked)[attack])
    before = allowed_functions()
    for read in (load_trajectories, lambda path: load_actor(path, shared_env("MountainCarContinuous-v0"))):
        with pytest.raises(InputError) as error:
            read(path)
        message = str(error.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        if attack in REFUSED:
            assert "asks for " in message and "refused, and nothing was run" in message
    assert not sentinel.exists()
    assert allowed_functions() == before
    assert_a_good_file_still_loads(tmp_path)


@pytest.mark.parametrize(
    "attack, reason",
    [
        ("_codecs.encode rot13", "asks for the codec 'rot13'"),
        ("OBJ of an allowed name, wrong arguments", "asks for the codec 'rot13'"),
        ("bytes(10**10)", "is not a readable pickle"),
        ("dtype as an array's class", "array of a foreign class"),
        ("dtype of a class", "dtype made from"),
        ("dtype of strings", "expected plain numbers"),
        ("object array", "holds object values"),
        ("object scalar", "holds object values"),
        ("byte order of a dtype", "byte order 'x'"),
        ("array that is never filled", "unfinished array"),
        ("array larger than its bytes", "shape (1000000000000,) with 8 bytes"),
        ("array state without a dtype", "array of objects"),
        ("BUILD on ndarray", "tries to change a class or function"),
        ("BUILD through the memo", "tries to change a class or function"),
        ("an allowed name left in the tree", "expected dicts, lists and arrays"),
        ("a set", "holds a set"),
        ("PERSID", "outside the file"),
    ],
)
def test_a_crooked_file_is_refused_for_its_own_reason(tmp_path, attack, reason):
    (tmp_path / "x.pkl").write_bytes(attacks(tmp_path / "ran")[1][attack])
    with pytest.raises(InputError) as error:
        load_pickle(tmp_path / "x.pkl")
    assert reason in str(error.value)


@pytest.mark.parametrize(
    "attack",
    [
        "os.system",
        "os.system by STACK_GLOBAL",
        "INST",
        "OBJ",
        "builtins.eval",
        "builtins.open",
        "functools.partial",
        "numpy runstring",
        "object array",
        "reduce, protocol 0",
        "reduce, protocol 5",
        "EXT1",
    ],
)
def test_a_plain_unpickler_would_have_run_it(tmp_path, attack, extension):
    sentinel = tmp_path / "ran"
    refused, crooked = attacks(sentinel)
    pickle.loads((refused | crooked)[attack])
    assert sentinel.exists()


def test_the_refusal_names_what_was_asked_for(tmp_path):
    (tmp_path / "x.pkl").write_bytes(name("os", "system") + b")R.")
    with pytest.raises(InputError, match=r"asks for os\.system, which may run code; refused, and nothing was run"):
        load_pickle(tmp_path / "x.pkl")


ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
    ("builtins", "bytes"),
    ("__builtin__", "bytes"),
    *(
        (f"numpy.{core}.multiarray", function)
        for core in ("core", "_core")
        for function in ("_reconstruct", "scalar")
    ),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
}


def test_nothing_but_the_documented_names_is_allowed():
    assert set(safe_pickle._ALLOWED) == ALLOWED


@pytest.mark.parametrize("module, attribute", sorted(ALLOWED))
def test_an_allowed_name_never_leads_to_the_real_thing(module, attribute):
    unpickler = safe_pickle._AllowListUnpickler(name(module, attribute) + b".")
    assert type(unpickler.load()) is safe_pickle.Constructor


@pytest.mark.parametrize("attribute", ["_function", "__class__", "__call__", "new"])
def test_an_allowed_name_cannot_be_changed(tmp_path, attribute):
    state = b"(N}" + text(attribute) + text("x") + b"stb."
    for target in (ARRAY, DTYPE, RECONSTRUCT, SCALAR, FROM_BUFFER, ENCODE, name("builtins", "bytes")):
        (tmp_path / "x.pkl").write_bytes(target + state)
        with pytest.raises(InputError, match="tries to change a class or function"):
            load_pickle(tmp_path / "x.pkl")


def test_a_file_that_cannot_be_opened_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_pickle(tmp_path / "missing.pkl")


def test_a_course_file_cut_short_is_refused(tmp_path):
    content = write_demonstrations(tmp_path / "good.pkl", 2023).read_bytes()
    for length in range(0, len(content), 101):
        (tmp_path / "x.pkl").write_bytes(content[:length])
        with pytest.raises(InputError, match=r"x\.pkl: "):
            load_trajectories(tmp_path / "x.pkl")


def test_a_damaged_byte_is_harmless_or_refused(tmp_path):
    rng = np.random.default_rng(0)
    content = write_demonstrations(tmp_path / "good.pkl", 2023, lengths=(2,), ob_dim=2, ac_dim=1).read_bytes()
    refused = 0
    for i in range(len(content)):
        damaged = bytearray(content)
        damaged[i] ^= rng.integers(1, 256)
        (tmp_path / "x.pkl").write_bytes(damaged)
        try:
            load_trajectories(tmp_path / "x.pkl")
        except InputError:
            refused += 1
    assert refused > 100


def shared_lists(levels):
    value = [0]
    for _ in range(levels):  # 2^levels zeros, if each list were copied wherever it stands
        value = [value, value]
    return value


def test_what_a_pickle_shares_stays_shared(tmp_path):
    loaded = load_pickle(write_pickle(tmp_path / "x.pkl", shared_lists(8)))
    assert loaded[0] is loaded[1]


def test_lists_shared_by_lists_are_refused_before_anybody_prints_them(tmp_path):
    with pytest.raises(InputError, match="much larger than the file"):
        load_pickle(write_pickle(tmp_path / "x.pkl", shared_lists(60)))

"""Names of tables, and the user's own classes and functions."""

import sys

import pytest

from rl_il.errors import InputError
from rl_il.plugins import RULES, check_name, find, is_own, load_own


@pytest.mark.parametrize("name", ["my_rule:Ask", "package.module:Ask", "_m:_A"])
def test_module_and_name_are_an_own_name(name):
    assert is_own(name)


@pytest.mark.parametrize(
    "name", ["dagger", "hf:org/repo/file.zip", "scripted:0.1", "my-rule:Ask", "m:", ":A", "m:A.b", "", None, 3]
)
def test_other_values_are_not(name):
    assert not is_own(name)


def test_a_name_of_the_table_comes_from_the_package():
    from rl_il.infrastructure.dagger import DAgger

    assert find("rule", RULES, "dagger") is DAgger


def test_an_own_name_comes_from_the_working_folder(own_folder):
    own_folder(mine="class Ask:\n    number = 7\n")
    assert find("rule", RULES, "mine:Ask").number == 7


def test_the_working_folder_comes_first(own_folder, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.py").write_text("number = 1")
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    own_folder(mine="number = 2")
    assert load_own("mine:number") == 2


def test_a_name_of_a_table_does_not_change_the_search_path(own_folder):
    own_folder(dagger="raise SystemError")
    before = [*sys.path]
    find("rule", RULES, "dagger")
    assert sys.path == before


def test_a_name_is_checked_without_an_import(own_folder):
    own_folder(mine="raise SystemError")
    check_name("rule", RULES, "mine:Ask")
    assert "mine" not in sys.modules


def test_an_unknown_name_is_refused_with_the_names_of_the_table():
    with pytest.raises(InputError, match=r"unkown.*dagger.*module:Name"):
        find("rule", RULES, "unkown")


@pytest.mark.parametrize(
    ("code", "name", "words"),
    [
        ("", "nowhere:Ask", ["nowhere", "folder"]),
        ("import nowhere", "mine:Ask", ["mine", "ModuleNotFoundError", "mine.py, line 1"]),
        ("\n\n1 / 0", "mine:Ask", ["mine", "ZeroDivisionError", "mine.py, line 3"]),
        ("def f(:", "mine:Ask", ["mine", "SyntaxError"]),
        ("class Asks: pass", "mine:Ask", ["mine.py", "Asks"]),
    ],
)
def test_a_module_that_cannot_be_used_is_refused_in_a_sentence(own_folder, code, name, words):
    own_folder(mine=code)
    with pytest.raises(InputError) as error:
        load_own(name)
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)

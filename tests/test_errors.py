import pytest

from rl_il.errors import InputError, Interrupted, run_command


def run(error, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as exit_:
        run_command(main)
    out, err = capsys.readouterr()
    return exit_.value.code, out, err


def test_a_users_mistake_is_one_line_and_status_2(capsys):
    assert run(InputError("x.npz: no such file"), capsys) == (2, "", "error: x.npz: no such file\n")


def test_ctrl_c_is_status_130(capsys):
    assert run(KeyboardInterrupt(), capsys) == (130, "", "interrupted\n")


def test_ctrl_c_after_saving_says_where(capsys):
    assert run(Interrupted("interrupted; data/q1_x is whole"), capsys) == (
        130,
        "",
        "interrupted; data/q1_x is whole\n",
    )


def test_our_own_mistakes_keep_their_traceback():
    def main():
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        run_command(main)


def test_a_script_that_works_ends_quietly(capsys):
    ran = []
    run_command(lambda: ran.append(1))
    assert ran == [1]
    assert capsys.readouterr() == ("", "")


def test_an_input_error_is_a_value_error():
    assert issubclass(InputError, ValueError)

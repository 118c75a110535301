import pytest

from rl_il.errors import InputError, Interrupted, run_command


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InputError("x.npz: no such file"), 2, "error: x.npz: no such file\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (Interrupted("interrupted; data/q1_x is complete"), 130, "interrupted; data/q1_x is complete\n"),
    ],
)
def test_a_mistake_or_ctrl_c_is_one_line_and_a_status(capsys, error, status, said):
    def main():
        raise error

    with pytest.raises(SystemExit) as exit_:
        run_command(main)
    assert exit_.value.code == status
    assert capsys.readouterr() == ("", said)


def test_a_bug_keeps_its_traceback():
    def main():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(main)

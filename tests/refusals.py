"""The error message for a file that cannot be read."""

import pytest

from rl_il.errors import InputError


def refusal(read, path, *args, holds=()):
    """Return the one line of the `InputError` for this path or name: it begins with it, and holds these words."""
    with pytest.raises(InputError) as error:
        read(path, *args)
    message = str(error.value)
    assert message.startswith(str(path)) and message.isprintable() and len(message) < 1500
    for word in holds:
        assert word in message
    return message

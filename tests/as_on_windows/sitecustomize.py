"""Take from our files what Windows lacks. Python imports this file when it starts, if its folder is on PYTHONPATH.

Only files of this package and scripts find these modules and functions missing. Other packages choose by the
platform: on Linux `filelock` for example cannot do without `fcntl`.
"""

import builtins
import os
import signal
import sys
from pathlib import Path

OURS = tuple(str(Path(__file__).resolve().parents[2] / folder) + os.sep for folder in ("rl_il", "scripts"))
MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "pty", "tty", "syslog", "readline"}
MISSING = {
    os: "fork forkpty getuid geteuid getgid getpgid getsid killpg setsid sched_getaffinity nice sysconf uname mkfifo"
    " pidfd_open O_DIRECTORY O_NONBLOCK WNOHANG",
    signal: "SIGALRM SIGKILL SIGHUP SIGUSR1 SIGUSR2 SIGQUIT ITIMER_REAL setitimer getitimer alarm pause sigwait",
}


def is_ours(file: object) -> bool:
    """Return whether this is a file of the package or a script."""
    return str(file).startswith(OURS)


def without_modules(name, globals=None, locals=None, fromlist=(), level=0):
    """Import a module as usual, but refuse `MODULES` to our files."""
    if level == 0 and name.partition(".")[0] in MODULES and is_ours((globals or {}).get("__file__")):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return real_import(name, globals, locals, fromlist, level)


def without_folders(path, *args, **kwargs):
    """Open a file as usual, but refuse a folder to our files."""
    if is_ours(sys._getframe(1).f_code.co_filename) and os.path.isdir(path):
        raise PermissionError(13, "Permission denied", str(path))
    return real_open(path, *args, **kwargs)


def without_names(module, names):
    """Remove the names from the module; other files than ours still get them, from the module's `__getattr__`."""
    kept = {name: module.__dict__.pop(name) for name in names.split() if hasattr(module, name)}

    def getattr_(name):
        if name not in kept or is_ours(sys._getframe(1).f_code.co_filename):
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        return kept[name]

    module.__getattr__ = getattr_


real_import, builtins.__import__ = builtins.__import__, without_modules
real_open, os.open = os.open, without_folders
for each, names in MISSING.items():
    without_names(each, names)

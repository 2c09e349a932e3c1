"""Child processes that never outlive us, however we end.

Linux's PR_SET_PDEATHSIG has the kernel kill the child when its parent goes. "Parent" means the *thread*
that forked, so all children are started by one thread of ours that lives as long as the process does;
else a machine that was started in a short-lived thread would die with it.

Source: prctl(2), PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)  # loaded before any fork: the child must not import


class _Launcher:
    """The thread that starts all children of this process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pagepact-launcher")


_guard = threading.Lock()
_launcher: list[_Launcher] = []


def start_child(
    command: Sequence[str],
    *,
    stderr: int,
    pass_fds: Sequence[int] = (),
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = None,
    cwd: str = "/",
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command`, which is killed when this process ends, whatever the reason.

    It leads a session of its own. `stdin`, `stdout` and `stderr` are what Popen takes; without `stdout`
    its output goes where its errors go. Raises OSError where it cannot be started.
    """

    def start() -> subprocess.Popen[bytes]:
        with warnings.catch_warnings():
            # Python 3.12 warns of fork with threads; what runs in the child takes no lock.
            warnings.simplefilter("ignore", DeprecationWarning)
            return subprocess.Popen(
                command,
                stdin=stdin,
                stdout=stderr if stdout is None else stdout,
                stderr=stderr,
                pass_fds=pass_fds,
                cwd=cwd,
                env=environment,
                start_new_session=True,  # Ctrl-C is ours: the child must not get it too
                preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - see above
            )

    return _launcher_of_this_process().submit(start).result()


def _launcher_of_this_process() -> ThreadPoolExecutor:
    with _guard:
        if not _launcher or _launcher[0].pid != os.getpid():  # threads do not survive a fork
            _launcher[:] = [_Launcher()]
        return _launcher[0].threads


def _die_with(parent: int) -> Callable[[], None]:
    def prepare() -> None:
        if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
            os._exit(127)  # the parent was gone before the kernel knew about us

    return prepare

"""`make book`: build the book in a folder of its own, and put it in place when it is good.

`_build/html` is at every moment the last good book or none: a build that fails or is killed leaves it alone. Each
build has its own folder in `_build`, so that two at once do not meet; the one that ends last stays. A folder whose
build was killed is removed by the next one, which knows it by its lock: the system releases that with the process.
"""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "_build"
# Warnings are errors, all of them are reported, and every page is read again.
COMMAND = [Path(sys.executable).with_name("jupyter-book"), "build", ROOT, "-W", "-n", "--keep-going", "--all", "-q"]
PREFIX = "new-"
AT_FDCWD, SWAP = -100, 2  # of Linux's renameat2; macOS has the same number for its own function


@contextlib.contextmanager
def locked(path, flags=fcntl.LOCK_EX):
    """Hold the lock of a file, which processes that are started with its number hold too."""
    with open(path, "a") as file:
        fcntl.flock(file, flags)
        yield file.fileno()


def exchange(one, other):
    """Let two folders change places in one step; an error where the system cannot."""
    system = ctypes.CDLL(None, use_errno=True)
    one, other = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin":
        failed = system.renamex_np(one, other, SWAP)
    else:
        failed = system.renameat2(AT_FDCWD, one, AT_FDCWD, other, SWAP)
    if failed:
        raise OSError(ctypes.get_errno(), "the folders cannot change places in one step")


def put_in_place(new, html):
    """Let the new book be the book; the one before, if any, stays in the folder of the new one."""
    if html.exists():
        try:
            return exchange(new, html)
        except (OSError, AttributeError):
            os.rename(html, new.with_name("before"))
    os.rename(new, html)


def remove_killed(folder):
    """Remove what killed builds have left; a book that one of them had only taken away comes back first."""
    for left in folder.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), locked(left / "lock", fcntl.LOCK_EX | fcntl.LOCK_NB):
            for before in left.glob("_build/before"):
                if not (folder / "html").exists():
                    os.rename(before, folder / "html")
            shutil.rmtree(left, ignore_errors=True)


def build(folder=BUILD, command=COMMAND):
    """Build the book into ``folder / "html"``, its messages into ``log.txt``; return the exit code of the build."""
    folder.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        with locked(folder / ".lock"):
            remove_killed(folder)
            own = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder)))
            lock = stack.enter_context(locked(own / "lock"))
        with open(own / "log.txt", "wb") as log:
            # The child holds the lock as well: it may outlive this process.
            run = subprocess.run(
                [*command, "--path-output", own], stdout=log, stderr=subprocess.STDOUT, pass_fds=[lock]
            )
        built = own / "_build" / "html"
        with locked(folder / ".lock"):
            if run.returncode == 0:
                put_in_place(built, folder / "html")
            os.replace(own / "log.txt", folder / "log.txt")
    return run.returncode


def main():
    # As an interrupt from the keyboard does: stop the child, remove the folder.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    print("building the book ...", flush=True)
    if code := build():
        print((BUILD / "log.txt").read_text(encoding="utf-8", errors="replace"))
        return code
    print(f"open file://{BUILD / 'html' / 'index.html'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

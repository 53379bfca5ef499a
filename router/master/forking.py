"""A child of the master begins as a copy of it: what both import is in memory once (11 MB less in a router at rest),
and a child that died is back without starting an interpreter.  Standard library only.

What a fork takes along and an exec would not is dealt with here: descriptors, signal handlers, the command line.  The
master has no thread, and no module of ours draws a random number or asks for the process id when it is imported.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Collection, Iterable
from typing import NoReturn

from fastroute.router.runtime.free_memory import give_back_free_memory
from fastroute.router.runtime.inheritance import StartError

#: They end a process that has no handler yet; children unblock them once they have one.
_BLOCKED = (signal.SIGUSR1, signal.SIGHUP)
#: Where the command line lies among the fields of /proc/PID/stat that stand behind the program's name.
_ARG_START, _ARG_END = 45, 46


def prepare(modules: Iterable[str]) -> None:
    """Import ``modules``, which children are to run; ``StartError`` when one can't be."""
    new = [module for module in modules if module not in sys.modules]
    if not new:
        return
    for module in new:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise StartError(f"{module} can't be imported: {error} (as user {os.getuid()})") from None
    gc.collect()
    # The children's collectors would write to all of it, and so make copies.
    gc.freeze()
    give_back_free_memory()


def fork(name: str, module: str, settings_fd: int, descriptors: Collection[int]) -> int:
    """The process id of a child that runs ``main`` of ``module``, which is prepared, and is called ``name`` in ``top``.

    It has these descriptors and the standard ones, and no others.  ``OSError`` when there can be no further process.
    """
    main = sys.modules[module].main
    began, begin = os.pipe()
    # A signal that came to the child now would be told to the master, by its wakeup descriptor.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if not pid:
            _run(main, name, [module, "--settings-fd", str(settings_fd)], {0, 1, 2, settings_fd, *descriptors})
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(begin)
        # Until the child has closed its end: from then on it is nothing of the master's any more.
        os.read(began, 1)
        os.close(began)
    return pid


def _run(main: Callable[[list[str]], int], name: str, argv: list[str], descriptors: Collection[int]) -> NoReturn:
    """In the child.  It ends here: the master's objects, whose descriptors are closed, stay referenced to the end."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        _rename(name, argv[0])
        for fd in map(int, os.listdir("/proc/self/fd")):
            if fd not in descriptors:
                # The listing's own is closed already.
                with contextlib.suppress(OSError):
                    os.close(fd)
        sys.argv = argv
        signal.pthread_sigmask(signal.SIG_SETMASK, _BLOCKED)
        code = main(argv)
    except SystemExit as end:
        code = _exit_code(end)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def _exit_code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    sys.stderr.write(f"{end.code}\n")
    return 1


def _rename(name: str, module: str) -> None:
    """Best effort: or ``ps``, and whoever looks for routers in it, would take this process for a master."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        with open("/proc/self/comm", "w") as stream:
            stream.write(name)
        with open("/proc/self/stat") as stream:
            fields = stream.read().rpartition(")")[2].split()
        begin, end = int(fields[_ARG_START]), int(fields[_ARG_END])
        memory = os.open("/proc/self/mem", os.O_WRONLY | os.O_CLOEXEC)
        try:
            # The kernel reads the command line from there; Python has its own copy.
            os.pwrite(memory, module.encode()[: end - begin - 1].ljust(end - begin, b"\0"), begin)
        finally:
            os.close(memory)

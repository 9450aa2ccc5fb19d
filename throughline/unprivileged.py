"""PostgreSQL refuses to run as root: then its processes run as nobody, who may still enter root's folders."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

_NOBODY: Final = 65534
_PR_SET_KEEPCAPS, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 8, 28, 47, 2
_NO_SETUID_FIXUP = 1 << 2  # neither setuid nor access(2) may take away what we keep
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_CAPABILITY_VERSION_3 = 0x20080522


def give(path: Path) -> None:
    """Makes a file or folder belong to whoever the processes run as."""
    if os.geteuid() == 0:
        os.chown(path, _NOBODY, _NOBODY)


def unprivileged() -> Callable[[], None] | None:
    """What a child does before it becomes PostgreSQL; nothing, unless we are root.

    The programs and the data may lie below a folder that only root can enter, so on Linux the two capabilities that
    open folders are kept.
    """
    if os.geteuid() != 0:
        return None
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    def become_nobody() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
            libc.prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP, 0, 0, 0)
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
        if libc is not None:
            _keep_folders_open(libc)

    return become_nobody


def _keep_folders_open(libc: ctypes.CDLL) -> None:
    """Of all rights of root only these. Where one is missing already, the program will say what it cannot enter."""
    kept = (1 << _CAP_DAC_OVERRIDE) | (1 << _CAP_DAC_READ_SEARCH)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0))
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0)

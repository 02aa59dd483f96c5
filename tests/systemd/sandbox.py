"""Runs a program under the kernel's filters that a unit asks for, without systemd.

    python -m tests.systemd.sandbox UNIT PROGRAM ARGUMENT…

Of the unit: SystemCallFilter, MemoryDenyWriteExecute and RestrictAddressFamilies, by the same library that systemd
calls for it, with the rules of its src/shared/seccomp-util.c. What is refused answers EPERM (families: EAFNOSUPPORT).
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_ALLOW: Final = 0x7FFF_0000
_NE, _EQ, _MASKED_EQ, _GT = 1, 4, 7, 6  # enum scmp_compare
_PROT_WRITE, _PROT_EXEC, _SHM_EXEC = 2, 4, 0o100000
_NO_NEW_PRIVILEGES: Final = 38  # prctl


class _Compare(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def _error(number: int) -> int:
    return 0x0005_0000 | number


def settings(unit: str) -> dict[str, list[str]]:
    """Values of a unit's directives, in their order."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", unit, flags=re.M):
        found.setdefault(name, []).append(value)
    return found


def allowed_calls(filters: Iterable[str]) -> set[str]:
    """Names of the system calls that lines of SystemCallFilter= let through, the first line being one that allows."""
    allowed: set[str] = set()
    for line in filters:
        names = {name for word in line.removeprefix("~").split() for name in _calls(word)}
        allowed = allowed - names if line.startswith("~") else allowed | names
    return allowed


def _calls(word: str) -> Iterator[str]:
    """A call's own name, or those of a group as this systemd knows it."""
    if not word.startswith("@"):
        yield word
        return
    told = subprocess.run(["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True)
    for line in told.stdout.splitlines()[1:]:
        if (name := line.strip()) and not name.startswith("#"):
            yield from _calls(name)


class Filter:
    """One filter of the kernel; every one that is loaded must let a call through."""

    def __init__(self, otherwise: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(otherwise)))

    def rule(self, action: int, call: str, *comparisons: tuple[int, int, int, int]) -> None:
        """What happens to a call whose arguments compare so. A call that this machine does not have is passed over."""
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:
            return
        array = (_Compare * len(comparisons))(*comparisons)
        done = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, len(comparisons), array
        )
        assert done in (0, -errno.EEXIST), (call, done)

    def load(self) -> None:
        """From here to the end of this process and of all that it starts."""
        assert self._library.seccomp_load(self._context) == 0


def confine(unit: str) -> None:
    """This process, as the unit says."""
    told = settings(unit)
    calls = Filter(_error(errno.EPERM))
    for name in allowed_calls(told["SystemCallFilter"]):
        calls.rule(_ALLOW, name)
    memory = Filter(_ALLOW)
    if told.get("MemoryDenyWriteExecute") == ["yes"]:
        both = _PROT_WRITE | _PROT_EXEC
        memory.rule(_error(errno.EPERM), "mmap", (2, _MASKED_EQ, both, both))
        for call in ("mprotect", "pkey_mprotect"):
            memory.rule(_error(errno.EPERM), call, (2, _MASKED_EQ, _PROT_EXEC, _PROT_EXEC))
        memory.rule(_error(errno.EPERM), "shmat", (2, _MASKED_EQ, _SHM_EXEC, _SHM_EXEC))
    families = Filter(_ALLOW)
    known = {int(getattr(socket, name)) for name in told["RestrictAddressFamilies"][0].split()}
    for family in range(max(known) + 1):
        if family not in known:
            families.rule(_error(errno.EAFNOSUPPORT), "socket", (0, _EQ, family, 0))
    families.rule(_error(errno.EAFNOSUPPORT), "socket", (0, _GT, max(known), 0))
    assert ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    for one in (families, memory, calls):
        one.load()


if __name__ == "__main__":
    confine(Path(sys.argv[1]).read_text())
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606  the program of the test

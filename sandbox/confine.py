"""Shutting this process in without namespaces: Landlock, no capabilities, a filter of calls.

Part of the supervisor, so it imports next to nothing. Landlock takes away every right to the file
system but those given here, for this process and all it starts, for good.
"""

from __future__ import annotations

import ctypes
import os

from sandbox.staging import check

TYPE_CHECKING = False  # the name that type checkers know; importing typing costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""Numbers of calls, the same on every kind of machine."""
ASK_FOR_THE_VERSION = 1
RULE_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE = 1 << 14
EVERYTHING = (1 << 16) - 1
READING = EXECUTE | READ_FILE | READ_DIR
MAKING_DEVICES = 1 << 6 | 1 << 11
WRITING = EVERYTHING & ~MAKING_DEVICES
OF_FILES = EXECUTE | READ_FILE | WRITE_FILE | TRUNCATE
"""The rights that a rule for a file, not a folder, may name."""
ABSTRACT_SOCKETS_AND_SIGNALS = 3

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
PR_SET_NO_NEW_PRIVS = 38
CAPABILITY_VERSION = 0x2008_0522

_libc = ctypes.CDLL(None, use_errno=True)


class Ruleset(ctypes.Structure):
    """`struct landlock_ruleset_attr`."""

    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class Beneath(ctypes.Structure):
    """`struct landlock_path_beneath_attr`."""

    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("parent", ctypes.c_int32))


class Filter(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def landlock_version() -> int:
    """Give the version of Landlock that this kernel offers; 0 if none."""
    version: int = _libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ASK_FOR_THE_VERSION)
    return max(version, 0)


def confine(wanted: dict[str, Any]) -> None:
    """Shut this process in.

    Args:
        wanted: `readable` and `writable` paths, `devices` to read and write, `seccomp` steps.

    Raises:
        OSError: it could not be done; the process must not go on.
    """
    check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    drop_capabilities()
    rights = ((READING, wanted["readable"]), (WRITING, wanted["writable"]))
    restrict((*rights, (READ_FILE | WRITE_FILE, wanted["devices"])))
    if wanted["seccomp"]:
        steps: bytes = wanted["seccomp"]
        filter_ = Filter(len(steps) // 8, steps)
        done = _libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filter_), 0, 0)
        check(done, "a filter of system calls")


def restrict(rights: Iterable[tuple[int, list[str]]]) -> None:
    """Keep these rights to these paths and what lies beneath them, and no other."""
    wanted = Ruleset(files=EVERYTHING, scoped=ABSTRACT_SOCKETS_AND_SIGNALS)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    rules: int = _libc.syscall(CREATE_RULESET, ctypes.byref(wanted), size, 0)
    check(rules, "Landlock")
    for right, paths in rights:
        for path in paths:
            parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
            is_folder = os.path.isdir(path)  # noqa: PTH112 - pathlib is slow to load
            rule = Beneath(right if is_folder else right & OF_FILES, parent)
            check(_libc.syscall(ADD_RULE, rules, RULE_PATH_BENEATH, ctypes.byref(rule), 0), path)
            os.close(parent)
    check(_libc.syscall(RESTRICT_SELF, rules, 0), "Landlock")
    os.close(rules)


def drop_capabilities() -> None:
    """Give up every capability, and the way by which a program started as root would get it."""
    number = 0
    while _libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0:
        if _libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0) and os.geteuid() == 0:
            check(_libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0), "a capability")
        number += 1
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capabilities")

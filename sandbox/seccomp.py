"""The system calls that no command needs, as a filter for the kernel; it installs nothing itself.

A deny-list in classic BPF, the form that `bwrap --seccomp` and seccomp(2) take. What is on it
either acts on the whole machine, or is where most holes of the kernel were found, or looks into
other processes. The list is read from top to bottom: the kernel remembers which calls are always
allowed (since 5.11), so that its length costs them nothing.

Every way to name a call is closed: those of another architecture (`int 0x80`) kill the process,
those of x32 do not exist. `clone3` passes its flags where no filter can see them, so it does not
exist either, and the C library falls back to `clone`.
"""

import errno
import platform
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sandbox.errors import SandboxUnavailable

Numbers = int | tuple[int, int | None]
"""Of one call on x86-64 and on aarch64, or the number they share."""

DENIED: dict[str, Numbers] = {
    # mounting and roots
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
    "fspick": 433, "mount_setattr": 442, "open_tree_attr": 467, "setns": (308, 268),
    "open_by_handle_at": (304, 265), "quotactl": (179, 60), "quotactl_fd": 443,
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": 440, "pidfd_getfd": 438, "kcmp": (312, 272),
    "migrate_pages": (256, 238), "move_pages": (279, 239),
    # large parts of the kernel that tests do without
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "fanotify_init": (300, 262),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "modify_ldt": (154, None), "lookup_dcookie": (212, 18), "nfsservctl": (180, 42),
    # the machine itself
    "reboot": (169, 142), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "create_module": (174, None), "get_kernel_syms": (177, None), "query_module": (178, None),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "syslog": (103, 116),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162), "iopl": (172, None),
    "ioperm": (173, None), "vhangup": (153, 58), "uselib": (134, None), "sysfs": (139, None),
    "ustat": (136, None), "_sysctl": (156, None),
}  # fmt: skip
"""Answered with EPERM."""

FILTERED: dict[str, Numbers] = {
    "clone3": 435, "clone": (56, 220), "unshare": (272, 97), "ioctl": (16, 29),
    "socket": (41, 198), "socketpair": (53, 199), "shmget": (29, 194), "semget": (64, 190),
}  # fmt: skip
CHANGES_OF_METADATA: dict[str, Numbers] = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": 452,
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None),
    "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "setxattrat": 463, "removexattrat": 466, "file_setattr": 469,
}  # fmt: skip
"""What Landlock lets a command do to any file that its user owns."""

WITHOUT_NAMESPACES: dict[str, Numbers] = {
    "shmget": (29, 194), "shmctl": (31, 195), "shmat": (30, 196), "shmdt": (67, 197),
    "semget": (64, 190), "semctl": (66, 191), "semop": (65, 193), "semtimedop": (220, 192),
    "msgget": (68, 186), "msgctl": (71, 187), "msgsnd": (69, 189), "msgrcv": (70, 188),
    "mq_open": (240, 180), "mq_unlink": (241, 181),
    "ioprio_set": (251, 30), "process_mrelease": 448,
}  # fmt: skip
"""What an own namespace contains: memory, semaphores and queues of the host; its processes."""
OF_ITSELF_ONLY: dict[str, tuple[Numbers, tuple[int, ...]]] = {
    "prlimit64": ((302, 261), (0,)), "setpriority": ((141, 140), (0, 1)),
    "sched_setaffinity": ((203, 122), (0,)), "sched_setscheduler": ((144, 119), (0,)),
    "sched_setparam": ((142, 118), (0,)), "sched_setattr": ((314, 274), (0,)),
}  # fmt: skip
"""Calls that act on another process where one of these arguments is not 0; for setpriority the
first says whether it is a process, a group or a user. Landlock keeps signals in, and not these."""

CALLS = {
    **DENIED,
    **FILTERED,
    **CHANGES_OF_METADATA,
    **WITHOUT_NAMESPACES,
    **{name: call for name, (call, _) in OF_ITSELF_ONLY.items()},
}

NEW_NAMESPACES = 0x7E02_0000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""
NEW_TIME = 0x80
"""CLONE_NEWTIME, which in `clone` is a part of the signal's number."""
TYPES_INTO_A_TERMINAL = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX."""
OF_TERMINALS = 0x5400
"""What is asked of terminals and pipes begins so; other requests set flags of files (no rule of
Landlock is asked), or have no file that may be opened."""
SHARED_BYTES, SEMAPHORES = 64 * 1024, 250
"""The most of one piece of System V: what no process maps is counted by nobody."""
FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: those that a network namespace contains."""

AUDIT_ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
X32_BIT = 0x4000_0000

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER_AT, ARCH_AT, ARGUMENTS_AT = 0, 4, 16
ALLOW, KILL, ERROR = 0x7FFF_0000, 0x8000_0000, 0x0005_0000


@dataclass(frozen=True)
class Instruction:
    """One step: a condition skips `if_true` or `if_false` of the steps after it."""

    code: int
    k: int
    if_true: int = 0
    if_false: int = 0

    def packed(self) -> bytes:
        """Give it as the kernel reads it: `struct sock_filter`."""
        return struct.pack("=HBBI", self.code, self.if_true, self.if_false, self.k)


def program(machine: str = "", has_namespaces: bool = True) -> bytes:
    """Build the filter.

    Args:
        machine: as `uname -m` says it; this one by default.
        has_namespaces: where not, no socket may be made at all, other processes and what they
            share cannot be named, and what changes the modes, owners, times and attributes of
            files is left out without a complaint.

    Raises:
        SandboxUnavailable: there is no filter for this kind of machine.
    """
    steps = instructions(machine or platform.machine(), has_namespaces)
    return b"".join(step.packed() for step in steps)


def instructions(machine: str, has_namespaces: bool) -> list[Instruction]:
    """Give the steps of the filter, see `program`."""
    if machine not in AUDIT_ARCH:
        raise SandboxUnavailable(
            f"there is no list of system calls for {machine}; use an x86-64 or aarch64 machine."
        )
    number = dict(zip(FILTERED, numbers(FILTERED, machine), strict=True))
    refuse = _error(errno.EPERM)
    steps = [Instruction(LOAD, ARCH_AT), *_unless(EQUAL, AUDIT_ARCH[machine], KILL)]
    steps.append(Instruction(LOAD, NUMBER_AT))
    if machine == "x86_64":
        steps += _if(AT_LEAST, X32_BIT, _error(errno.ENOSYS))
    for denied in numbers(DENIED, machine):
        steps += _if(EQUAL, denied, refuse)
    steps += _if(EQUAL, number["clone3"], _error(errno.ENOSYS))
    steps += _on(number["clone"], _argument(0, _if(ANY_BIT, NEW_NAMESPACES, refuse)))
    forbidden = NEW_NAMESPACES | NEW_TIME
    steps += _on(number["unshare"], _argument(0, _if(ANY_BIT, forbidden, refuse)))
    typing = [step for request in TYPES_INTO_A_TERMINAL for step in _if(EQUAL, request, refuse)]
    steps += _within(machine, typing) if has_namespaces else _without_namespaces(machine, typing)
    steps += _on(number["socketpair"], _argument(0, _one_of(FAMILIES)))
    return [*steps, Instruction(RETURN, ALLOW)]


def _within(machine: str, typing: Sequence[Instruction]) -> list[Instruction]:
    """Give the steps for what namespaces contain: it is allowed, within bounds."""
    ioctl, socket, shmget, semget = numbers(("ioctl", "socket", "shmget", "semget"), machine)
    too_much = _error(errno.EINVAL)
    size = [
        *_argument(1, _if(AT_LEAST, SHARED_BYTES + 1, too_much)),
        *_argument(1, _unless(EQUAL, 0, too_much), upper_half=True),
    ]
    return [
        *_on(ioctl, _argument(1, typing)),
        *_on(socket, _argument(0, _one_of(FAMILIES))),
        *_on(shmget, size),
        *_on(semget, _argument(1, _if(AT_LEAST, SEMAPHORES + 1, too_much))),
    ]


def _without_namespaces(machine: str, typing: Sequence[Instruction]) -> list[Instruction]:
    """Give the steps for what nothing contains, neither namespaces nor Landlock."""
    ioctl, socket = numbers(("ioctl", "socket"), machine)
    refuse, not_for_this = _error(errno.EPERM), _error(errno.ENOTTY)
    steps = _if(EQUAL, socket, refuse)
    for change in numbers(CHANGES_OF_METADATA, machine):
        steps += _if(EQUAL, change, _error(0))
    for denied in numbers(WITHOUT_NAMESPACES, machine):
        steps += _if(EQUAL, denied, refuse)
    for name, (_, arguments) in OF_ITSELF_ONLY.items():
        checks = [_argument(argument, _unless(EQUAL, 0, refuse)) for argument in arguments]
        (number,) = numbers([name], machine)
        steps += _on(number, [step for check in checks for step in check])
    bounds = [
        *_unless(AT_LEAST, OF_TERMINALS, not_for_this),
        *_if(AT_LEAST, OF_TERMINALS + 0x100, not_for_this),
    ]
    return [*steps, *_on(ioctl, _argument(1, [*typing, *bounds]))]


def numbers(names: Iterable[str], machine: str) -> list[int]:
    """Give the numbers of calls on one kind of machine, those left out that it does not have."""
    column = list(AUDIT_ARCH).index(machine)
    found = [CALLS[name] for name in names]
    each = [entry if isinstance(entry, int) else entry[column] for entry in found]
    return [number for number in each if number is not None]


def _error(number: int) -> int:
    """Answer the call with this error instead of carrying it out; 0 is success."""
    return ERROR | number


def _if(condition: int, k: int, answer: int) -> list[Instruction]:
    return [Instruction(condition, k, 0, 1), Instruction(RETURN, answer)]


def _unless(condition: int, k: int, answer: int) -> list[Instruction]:
    return [Instruction(condition, k, 1, 0), Instruction(RETURN, answer)]


def _one_of(values: Sequence[int]) -> list[Instruction]:
    """Let a call pass if what is loaded is one of `values`."""
    allowed = [step for k in values for step in _if(EQUAL, k, ALLOW)]
    return [*allowed, Instruction(RETURN, _error(errno.EPERM))]


def _argument(
    index: int, check: Sequence[Instruction], upper_half: bool = False
) -> list[Instruction]:
    """Look at one argument; of most, the kernel reads no more than the lower half."""
    place = ARGUMENTS_AT + 8 * index + 4 * upper_half  # both machines are little-endian
    return [Instruction(LOAD, place), *check]


def _on(number: int, check: Sequence[Instruction]) -> list[Instruction]:
    """Look closer at one call, which passes if `check` comes to its end."""
    body = [*check, Instruction(RETURN, ALLOW)]
    return [Instruction(EQUAL, number, 0, len(body)), *body]

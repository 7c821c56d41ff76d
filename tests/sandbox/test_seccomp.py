"""The filter of system calls, run by a small interpreter of BPF."""

import errno
import hashlib
import struct

import pytest

from sandbox.errors import SandboxUnavailable
from sandbox.seccomp import (
    ALLOW,
    AUDIT_ARCH,
    CHANGES_OF_METADATA,
    DENIED,
    ERROR,
    KILL,
    SEMAPHORES,
    SHARED_BYTES,
    WITHOUT_NAMESPACES,
    numbers,
    program,
)

MACHINES = ("x86_64", "aarch64")
REFUSED = ERROR | errno.EPERM
MISSING = ERROR | errno.ENOSYS
I386 = 0x4000_0003

NUMBERS = {
    "x86_64": {"read": 0, "mount": 165, "clone": 56, "clone3": 435, "ioctl": 16, "socket": 41,
               "socketpair": 53, "unshare": 272, "chmod": 90, "execve": 59, "shmget": 29,
               "semget": 64, "prlimit64": 302, "setpriority": 141, "sched_setaffinity": 203},
    "aarch64": {"read": 63, "mount": 40, "clone": 220, "clone3": 435, "ioctl": 29, "socket": 198,
                "socketpair": 199, "unshare": 97, "fchmodat": 53, "execve": 221, "shmget": 194,
                "semget": 190, "prlimit64": 261, "setpriority": 140, "sched_setaffinity": 122},
}  # fmt: skip


def verdict(filter_bytes: bytes, arch: int, number: int, *arguments: int) -> int:
    """Run the filter over one call, as the kernel would."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("<iIQ6Q", number, arch, 0, *padded)
    steps = list(struct.iter_unpack("=HBBI", filter_bytes))
    at = accumulator = 0
    while True:
        code, if_true, if_false, k = steps[at]
        at += 1
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, k)[0]
        elif code == 0x06:
            return int(k)
        else:
            holds = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: accumulator & k}[code]
            at += if_true if holds else if_false


def answers(machine: str, call: str, *arguments: int, namespaces: bool = True) -> int:
    steps = program(machine, namespaces)
    return verdict(steps, AUDIT_ARCH[machine], NUMBERS[machine][call], *arguments)


@pytest.mark.parametrize("machine", MACHINES)
def test_what_programs_need_passes_and_what_is_on_the_list_does_not(machine: str) -> None:
    assert answers(machine, "read") == ALLOW
    assert answers(machine, "execve") == ALLOW
    assert answers(machine, "mount") == REFUSED
    for number in numbers(DENIED, machine):
        assert verdict(program(machine), AUDIT_ARCH[machine], number) == REFUSED


@pytest.mark.parametrize("machine", MACHINES)
def test_a_process_may_fork_but_make_no_namespace(machine: str) -> None:
    fork, thread = 0x0120_0011, 0x003D_0F00
    assert answers(machine, "clone", fork) == ALLOW
    assert answers(machine, "clone", thread) == ALLOW
    for new in (0x20000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000,
                0x4000_0000):  # fmt: skip
        assert answers(machine, "clone", fork | new) == REFUSED
        assert answers(machine, "unshare", new) == REFUSED
    assert answers(machine, "unshare", 0x80) == REFUSED
    assert answers(machine, "unshare", 0x400) == ALLOW  # an own table of files
    assert answers(machine, "clone3", 0) == MISSING


@pytest.mark.parametrize("machine", MACHINES)
def test_sockets_of_four_families_only(machine: str) -> None:
    for family in range(64):
        allowed = family in (1, 2, 10, 16)
        assert (answers(machine, "socket", family) == ALLOW) is allowed
        assert answers(machine, "socket", family, namespaces=False) == REFUSED
    assert answers(machine, "socket", 1 << 32 | 40) == REFUSED  # the kernel reads the lower half
    assert answers(machine, "socketpair", 1, namespaces=False) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_nothing_is_typed_into_a_terminal(machine: str) -> None:
    assert answers(machine, "ioctl", 0, 0x5412) == REFUSED
    assert answers(machine, "ioctl", 0, 0x541C) == REFUSED
    assert answers(machine, "ioctl", 0, 0xFFFF_FFFF_0000_5412) == REFUSED
    assert answers(machine, "ioctl", 0, 0x5401) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_without_namespaces_changes_of_metadata_are_left_out(machine: str) -> None:
    for number in numbers(CHANGES_OF_METADATA, machine):
        assert verdict(program(machine, False), AUDIT_ARCH[machine], number) == ERROR
        assert verdict(program(machine), AUDIT_ARCH[machine], number) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_without_namespaces_nothing_of_the_host_is_named_but_oneself(machine: str) -> None:
    for number in numbers(WITHOUT_NAMESPACES, machine):
        assert verdict(program(machine, False), AUDIT_ARCH[machine], number) == REFUSED
    for call in ("prlimit64", "sched_setaffinity"):
        assert answers(machine, call, 0, 7, namespaces=False) == ALLOW
        assert answers(machine, call, 1234, 7, namespaces=False) == REFUSED
        assert answers(machine, call, 1234, 7) == ALLOW
    assert answers(machine, "setpriority", 0, 0, 5, namespaces=False) == ALLOW
    for which, who in ((0, 1234), (1, 0), (2, 0)):
        assert answers(machine, "setpriority", which, who, 5, namespaces=False) == REFUSED


@pytest.mark.parametrize("machine", MACHINES)
def test_without_namespaces_no_request_changes_a_file(machine: str) -> None:
    set_flags, set_attributes, enable_verity = 0x4008_6602, 0x401C_5820, 0x4080_6685
    for request in (set_flags, set_attributes, enable_verity, 0x5500):
        assert answers(machine, "ioctl", 0, request) == ALLOW
        assert answers(machine, "ioctl", 0, request, namespaces=False) == ERROR | errno.ENOTTY
    for request in (0x5401, 0x5421, 0x541B, 0x5451):  # is it a terminal, does it block, how much...
        assert answers(machine, "ioctl", 0, request, namespaces=False) == ALLOW
    assert answers(machine, "ioctl", 0, 0x5412, namespaces=False) == REFUSED


@pytest.mark.parametrize("machine", MACHINES)
def test_pieces_of_system_v_are_small(machine: str) -> None:
    too_much = ERROR | errno.EINVAL
    for call, most in (("shmget", SHARED_BYTES), ("semget", SEMAPHORES)):
        assert answers(machine, call, 0, most) == ALLOW
        assert answers(machine, call, 0, most + 1) == too_much
    assert answers(machine, "shmget", 0, 1 << 32) == too_much


@pytest.mark.parametrize("machine", MACHINES)
def test_no_other_way_to_name_a_call_is_open(machine: str) -> None:
    other = next(arch for name, arch in AUDIT_ARCH.items() if name != machine)
    for arch in (I386, other):
        assert verdict(program(machine), arch, 0) == KILL
    if machine == "x86_64":
        for number in (0, 165, 521):
            assert verdict(program(machine), AUDIT_ARCH[machine], 0x4000_0000 | number) == MISSING


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("namespaces", [True, False])
def test_every_jump_stays_inside_and_every_path_ends(machine: str, namespaces: bool) -> None:
    steps = list(struct.iter_unpack("=HBBI", program(machine, namespaces)))
    assert len(steps) < 4096
    for at, (code, if_true, if_false, _) in enumerate(steps):
        assert code in (0x20, 0x15, 0x35, 0x45, 0x06)
        assert at + 1 + max(if_true, if_false) < len(steps) or code == 0x06
    assert steps[-1] == (0x06, 0, 0, ALLOW)


def test_the_bytes_are_those_that_were_looked_at() -> None:
    """A change of the filter is made on purpose, with this line beside it."""
    digests = [hashlib.sha256(program(machine)).hexdigest()[:12] for machine in MACHINES]
    assert digests == ["0ce0fc8c2831", "a72bff8ea197"]


def test_there_is_no_filter_for_a_machine_nobody_wrote_one_for() -> None:
    with pytest.raises(SandboxUnavailable, match="riscv64"):
        program("riscv64")

"""What only root can add: a user id of its own for the command, and fewer process ids.

Part of the supervisor, so it imports next to nothing. A process of uid 0 has rights without any
capability: files of root in /proc/sys, no limit of processes. So the command gets another id, and
every folder that it is shown is mounted once more, id-mapped: the owner on disk is that id inside,
and what the command writes belongs, on disk, to the owner of the folder.

The mounts live in the supervisor's own mount namespace and vanish with it.
"""

from __future__ import annotations

import ctypes
import os
import stat

STAGE = "/tmp"
"""Where the mounts are staged, unseen by anybody else: a folder that every system has."""

AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 0x1, 0x2, 0x4
MOUNT_ATTR_IDMAP = 0x0010_0000
MS_NOSUID, MS_NODEV, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x4000, 0x4_0000
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x0002_0000, 0x1000_0000, 0x2000_0000
RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x4, 0x8
OPEN_TREE, MOVE_MOUNT, OPENAT2, MOUNT_SETATTR = 428, 429, 437, 442
"""Numbers of calls, the same on every kind of machine."""
LAST_ID = 0xFFFF_FFFE

_libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """This kernel or file system cannot do it; the text is one sentence."""


class Changed(Exception):
    """What is to be mounted is no longer what it was; the text is one sentence."""


class MountAttributes(ctypes.Structure):
    """`struct mount_attr`."""

    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("user_namespace", ctypes.c_uint64),
    )


def stage(trees: list[tuple[str, bool]], uid: int) -> None:
    """Mount folders and files, each with whether it may be written, as `STAGE/0`, `STAGE/1`...

    Raises:
        Refused: naming what cannot be mounted so.
        Changed: a link, or nothing, is where something was to be mounted from.
    """
    namespaces: dict[tuple[int, int], int] = {}
    try:
        check(_libc.unshare(CLONE_NEWNS), "a mount namespace")
        check(_libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "private mounts")
        mounts = []
        writable = [path for path, is_writable in trees if is_writable]
        for path, is_writable in trees:
            place = find(path, writable)
            status = os.fstat(place)
            owner = status.st_uid, status.st_gid
            if owner not in namespaces:
                namespaces[owner] = mapping_namespace(*owner, uid)
            mount = mapped(place, path, is_writable, namespaces[owner])
            mounts.append((mount, stat.S_ISDIR(status.st_mode)))
            os.close(place)
        attach(mounts)
    except OSError as error:
        raise Refused(f"{error.filename or 'an id-mapped mount'}: {error.strerror}") from error
    finally:
        for fd in namespaces.values():
            os.close(fd)


def find(path: str, writable: list[str]) -> int:
    """Open a place to mount; inside of what commands can write it is reached through no link.

    A link that a command puts there in this moment would show it what it leads to.
    """
    outer = max((other for other in writable if path.startswith(f"{other}/")), key=len, default="")
    try:
        place = os.open(outer or path, os.O_PATH | os.O_CLOEXEC)
        return open_beneath(place, path[len(outer) + 1 :]) if outer else place
    except OSError as error:
        raise Changed(f"{path} cannot be mounted: {error.strerror}.") from error


def open_beneath(folder: int, name: str) -> int:
    """Open a name in a folder, through no link, and close the folder."""
    how = (ctypes.c_uint64 * 3)(os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    found: int = _libc.syscall(OPENAT2, folder, os.fsencode(name), how, size)
    number = ctypes.get_errno()
    os.close(folder)
    if found < 0:
        raise OSError(number, os.strerror(number), name)
    return found


def attach(mounts: list[tuple[int, bool]]) -> None:
    """Put mounts, each with whether it is a folder, into a small file system over `STAGE`."""
    flags = MS_NOSUID | MS_NODEV
    check(_libc.mount(b"stage", STAGE.encode(), b"tmpfs", flags, b"mode=0755,size=1m"), STAGE)
    for number, (mount, is_folder) in enumerate(mounts):
        place = f"{STAGE}/{number}"
        if is_folder:
            os.mkdir(place)  # noqa: PTH102
        else:
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o600))
        target = place.encode()
        moved = _libc.syscall(
            MOVE_MOUNT, mount, b"", AT_FDCWD, target, ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH)
        )
        check(moved, place)
        os.close(mount)


def mapped(place: int, path: str, is_writable: bool, namespace: int) -> int:
    """Give a mount of an open place, nowhere yet, its owners mapped as in a user namespace.

    What is only read may lie on a file system that cannot map: then others' rights apply.
    """
    clone = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH
    tree: int = _libc.syscall(OPEN_TREE, place, b"", ctypes.c_uint(clone))
    check(tree, path)
    attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (0 if is_writable else MOUNT_ATTR_RDONLY)
    done = set_attributes(tree, attributes | MOUNT_ATTR_IDMAP, namespace)
    if done < 0 and not is_writable:
        done = set_attributes(tree, attributes, 0)
    check(done, path)
    return tree


def set_attributes(tree: int, attributes: int, namespace: int) -> int:
    """Call mount_setattr(2) on a whole tree of mounts."""
    wanted = MountAttributes(set=attributes, user_namespace=namespace)
    flags = ctypes.c_uint(AT_EMPTY_PATH | AT_RECURSIVE)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    done: int = _libc.syscall(MOUNT_SETATTR, tree, b"", flags, ctypes.byref(wanted), size)
    return done


def mapping_namespace(owner: int, group: int, uid: int) -> int:
    """Open a user namespace in which `owner` and `uid` have changed places, and the groups too."""
    ready, ready_in = os.pipe()
    hold, hold_in = os.pipe()
    child = os.fork()
    if not child:
        os.close(hold_in)
        os.write(ready_in, b"y" if _libc.unshare(CLONE_NEWUSER) == 0 else b"n")
        os.read(hold, 1)  # nothing comes: it ends with the supervisor, if not before
        os._exit(0)
    try:
        if os.read(ready, 1) != b"y":
            raise OSError(1, "not permitted", "a user namespace")
        for name, ours in (("uid_map", owner), ("gid_map", group)):
            with open(f"/proc/{child}/{name}", "w") as file:  # noqa: PTH123 - pathlib is slow
                file.write(exchange(ours, uid))
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for fd in (ready, ready_in, hold, hold_in):
            os.close(fd)
        os.waitpid(child, 0)


def exchange(one: int, other: int) -> str:
    """Write a map of all ids in which two have changed places."""
    low, high = sorted((one, other))
    pieces = [(0, 0, low), (low, high, 1), (low + 1, low + 1, high - low - 1), (high, low, 1),
              (high + 1, high + 1, LAST_ID - high)]  # fmt: skip
    if low == high:
        pieces = [(0, 0, LAST_ID + 1)]
    return "".join(f"{inside} {outside} {count}\n" for inside, outside, count in pieces if count)


def own_process_ids() -> None:
    """Let the next child be the first process of a namespace.

    Raises:
        Refused: this root may not.
    """
    try:
        check(_libc.unshare(CLONE_NEWPID), "a namespace of process ids")
    except OSError as error:
        raise Refused(f"{error.filename}: {error.strerror}") from error


def limit_process_ids(count: int) -> None:
    """Set how many ids the namespace of this process has (of itself alone since Linux 6.14)."""
    with open("/proc/sys/kernel/pid_max", "w") as file:  # noqa: PTH123 - pathlib is slow to load
        file.write(str(count))


def drop(uid: int) -> None:
    """Become an ordinary user for good; the capabilities go with the id."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def check(result: int, what: str) -> None:
    """Turn the -1 of a call into an OSError."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)

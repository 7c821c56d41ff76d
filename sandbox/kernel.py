"""What this kernel can do, by its release; each answer is for one decision of the sandbox."""

import platform


def counts_processes_by_namespace() -> bool:
    """Say whether it counts RLIMIT_NPROC for each user namespace apart (5.14 or newer).

    On an older one the limit would count everything else that the user runs.
    """
    return release() >= (5, 14)


def limits_process_ids_by_namespace() -> bool:
    """Say whether each namespace of processes has a `pid_max` of its own (6.14 or newer).

    On an older one, setting it would set the whole machine's.
    """
    return release() >= (6, 14)


def release() -> tuple[int, int]:
    """Give the two numbers that a release begins with."""
    major, minor, *_ = platform.release().split(".")
    digits = "".join(letter for letter in minor.partition("-")[0] if letter.isdigit())
    return int(major), int(digits or 0)

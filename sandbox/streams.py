"""Pipes and nameless files through which we talk with other processes; unbuffered."""

import os
from contextlib import ExitStack
from io import FileIO


def memory_file(data: bytes) -> FileIO:
    """Put bytes into a nameless file, to be read from its start."""
    file = FileIO(os.memfd_create("sandbox"), "r+b")
    file.write(data)
    file.seek(0)
    return file


def pipe(stack: ExitStack) -> tuple[FileIO, FileIO]:
    """Open a pipe, to read and to write; both ends are closed with `stack` at the latest."""
    read, write = os.pipe()
    return (
        stack.enter_context(FileIO(read, "rb")),
        stack.enter_context(FileIO(write, "wb")),
    )

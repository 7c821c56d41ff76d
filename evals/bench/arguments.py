"""The arguments of `bench plan` and `bench quality`, apart from them: they load torch."""

import argparse
import os
from pathlib import Path


def add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare those of `bench plan`."""
    add = parser.add_argument
    add("--shape", default="0.8b", metavar="SIZE", help="0.8b (default), 2b, 9b, 27b, 35b-a3b, ...")
    add("--weights", choices=("nf4", "int8"), default="nf4", help="what they are kept in")
    add("--prompt", type=int, default=2048, metavar="N", help="tokens that are read (2048)")
    add("--new", type=int, default=32, metavar="N", help="tokens that are written (32)")
    add("--folder", type=Path, help="where there is room; the system's temporary one if left out")
    _add_threads(parser)


def add_quality_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare those of `bench quality`."""
    add = parser.add_argument
    add("--model", default="nano", metavar="nano|FOLDER|HUB-ID", help="default nano")
    add("--weights", choices=("nf4", "int8"), nargs="+", default=["nf4", "int8"])
    add("--tokens", type=int, default=8192, metavar="N", help="that are read (default 8192)")
    add("--window", type=int, default=1024, metavar="N", help="tokens at a time (default 1024)")
    add("--device", default="auto", metavar="cpu|cuda")
    _add_threads(parser)


def _add_threads(parser: argparse.ArgumentParser) -> None:
    num_cores = len(os.sched_getaffinity(0))
    parser.add_argument("--threads", type=int, default=num_cores, metavar="N", help="default: all")

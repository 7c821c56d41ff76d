"""How a machine is read: its memory, and what others use of it; its GPUs; a Mac."""

from dataclasses import replace
from pathlib import Path

import pytest

from agent import hardware
from agent.hardware import GIB, MIB, Gpu, gpus_of, has_bfloat16, memory_bytes, read_hardware


def files(root: Path, **contents: str) -> Path:
    for name, text in contents.items():
        file = root / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_a_container_has_as_much_memory_as_its_tightest_group(tmp_path: Path) -> None:
    files(
        tmp_path,
        proc__self__cgroup="0::/a/b\n",
        sys__fs__cgroup__a__memory_dot_max=f"{300 * MIB}\n",
        sys__fs__cgroup__a__b__memory_dot_max="max\n",
    )
    assert memory_bytes(tmp_path) == 300 * MIB
    files(tmp_path, sys__fs__cgroup__a__b__memory_dot_max=f"{200 * MIB}\n")
    assert memory_bytes(tmp_path) == 200 * MIB


def test_groups_of_the_first_version_count_too(tmp_path: Path) -> None:
    files(
        tmp_path,
        proc__self__cgroup="4:cpu:/x\n3:memory:/docker/1\n",
        sys__fs__cgroup__memory__docker__1__memory_dot_limit_in_bytes=f"{100 * MIB}\n",
    )
    assert memory_bytes(tmp_path) == 100 * MIB
    assert memory_bytes(tmp_path / "none") > 100 * MIB


def test_the_cpu_says_whether_it_multiplies_bfloat16(tmp_path: Path) -> None:
    assert not has_bfloat16(files(tmp_path, proc__cpuinfo="flags : fpu avx2 avx512f\n"))
    assert has_bfloat16(files(tmp_path, proc__cpuinfo="flags : fpu avx512_bf16\n"))


def test_memory_that_others_use_is_not_planned_with(tmp_path: Path) -> None:
    kib = {name: gib << 20 for name, gib in (("total", 32), ("free", 20), ("engine", 4))}
    files(
        tmp_path,
        proc__meminfo=f"MemTotal: {kib['total']} kB\nMemAvailable: {kib['free']} kB\n",
        proc__7__cmdline="python\0-P\0-m\0inference.host\0{}\0",
        proc__7__status=f"VmRSS: 1 kB\nRssAnon: {kib['engine']} kB\n",
        proc__8__cmdline="vi\0inference.host.py\0",
        proc__8__status="RssAnon: 1000000 kB\n",
    )
    found = read_hardware(vram_gib=24, root=tmp_path)
    assert found.free_bytes == 24 * GIB  # an engine of ours may be the one that is planned
    assert found.note == "Other programs use 8.0 GiB of the memory now."
    machine = replace(found, ram_bytes=32 * GIB)
    assert [room.ram_bytes for room in machine.rooms] == [24 * GIB, 24 * GIB]
    assert replace(machine, free_bytes=31 * GIB).rooms[1].device_bytes == round(0.8 * 32 * GIB)
    assert read_hardware(24, ram_gib=32, root=tmp_path).note == ""


def test_a_mac_has_the_memory_that_its_system_says_and_no_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    numbers = {"SC_PHYS_PAGES": 2**20, "SC_PAGE_SIZE": 2**14}
    monkeypatch.setattr(hardware.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(hardware.os, "sysconf", numbers.__getitem__)
    program = tmp_path / "nvidia-smi"  # it is not asked
    program.write_text("#!/bin/sh\necho 'NVIDIA RTX 4090, 24564, 3000'\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = read_hardware(root=tmp_path)
    assert (found.ram_bytes, found.gpu, found.free_bytes) == (16 * GIB, None, None)
    assert found.note.startswith("The memory of a Mac is shared by its CPU and GPU")
    assert [(room.device, room.device_bytes) for room in found.rooms] == [
        ("cpu", round(0.8 * 16 * GIB))
    ]


def test_gpus_are_read_from_what_the_driver_prints() -> None:
    printed = "NVIDIA A, B, 24564, 512\nTesla T4, 15360, 0\nbroken, [N/A], 1\n"
    first, second = gpus_of(printed, {})
    assert first == Gpu("NVIDIA A, B", 24_564 * MIB, 512 * MIB)
    assert gpus_of(printed, {"CUDA_VISIBLE_DEVICES": "1"}) == (second,)
    assert gpus_of(printed, {"CUDA_VISIBLE_DEVICES": ""}) == ()
    assert gpus_of("", {}) == ()


def test_a_driver_is_asked_and_its_silence_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(hardware, "version", lambda _name: "2.11.0")
    monkeypatch.setattr(hardware, "QUERY_S", 60.0)  # the machine may be busy
    program.write_text("#!/bin/sh\necho 'NVIDIA RTX 4090, 24564, 3000'\n")
    program.chmod(0o700)
    found = read_hardware(root=tmp_path)
    assert found.gpu == Gpu("NVIDIA RTX 4090", 24_564 * MIB, 3_000 * MIB)
    assert found.note == "2.9 GiB of the GPU are in use now."
    assert [room.device for room in found.rooms] == ["cuda", "cpu"]
    monkeypatch.setattr(hardware, "version", lambda _name: "2.11.0+cpu")
    assert read_hardware().gpu is None
    assert "for the CPU" in read_hardware().note
    program.write_text("#!/bin/sh\nexit 9\n")
    assert read_hardware().gpu is None
    program.write_text("#!/bin/no-such-shell\n")
    assert "does not answer" in read_hardware().note

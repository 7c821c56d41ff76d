"""The probe of the layers says what holds, and says so of nothing that does not."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sandbox.bubblewrap import Bubblewrap
from sandbox.direct import Direct
from sandbox.landlock import Landlock, refusal_of_landlock
from sandbox.probe import HOLDS, INSIDE, Layer, probe_layers

HOLDS_ANYWHERE = {"limits", "sweep"}
"""Even without isolation: they are not bubblewrap's."""


@pytest.fixture
def with_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_API_KEY", "0c61f5")


def test_every_layer_that_the_level_promises_holds(
    bubblewrap: Bubblewrap, with_a_secret: None
) -> None:
    layers = probe_layers(bubblewrap)
    assert [layer.name for layer in layers] == list(HOLDS)
    promised = [layer for layer in layers if layer.is_promised(bubblewrap.level)]
    assert [layer for layer in promised if not layer.works] == []
    assert {"view", "capabilities", "network", "git"} <= {layer.name for layer in promised}


def test_layers_that_are_left_out_are_the_ones_that_do_not_hold(with_a_secret: None) -> None:
    left_out = {"network", "environment", "git", "seccomp", "uid"}
    layers = probe_layers(Bubblewrap(without=left_out))
    may_follow = {"uid"} if os.geteuid() else set()  # an ordinary user is not root anyway
    assert {layer.name for layer in layers if not layer.works} == left_out - may_follow


@pytest.mark.skipif(refusal_of_landlock() != "", reason="this kernel has no Landlock to test")
def test_landlock_does_without_what_it_says_and_no_more(with_a_secret: None) -> None:
    sandbox = Landlock()
    broken = [layer for layer in probe_layers(sandbox) if not layer.works]
    assert "git" in {layer.name for layer in broken}
    assert [layer for layer in broken if layer.is_promised(sandbox.level)] == []


def test_without_isolation_the_probe_finds_none(with_a_secret: None) -> None:
    layers = {layer.name: layer for layer in probe_layers(Direct())}
    open_ones = {"view", "network", "processes", "environment", "git", "seccomp"}
    assert {name for name in open_ones if layers[name].works} == set()
    assert {name for name in HOLDS_ANYWHERE if not layers[name].works} == set()
    assert not layers["capabilities"].works  # an ordinary user may run a setuid program
    for layer in layers.values():
        assert bool(layer.mend) is not layer.works
        assert not layer.is_promised("direct")


def test_a_layer_that_cannot_be_tried_does_not_count_as_holding() -> None:
    command = [sys.executable, "-I", "-S", "-c", INSIDE.read_text(), json.dumps({})]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    answers = dict(json.loads(line) for line in done.stdout.splitlines())
    assert answers["view"].startswith("it cannot be tried")


def test_a_level_nobody_knows_promises_everything() -> None:
    assert all(Layer(name, True, "", "").is_promised("new") for name in HOLDS)


def test_the_probe_leaves_nothing_behind(
    bubblewrap: Bubblewrap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # other tests probe, too
    probe_layers(bubblewrap)
    assert list(tmp_path.glob("qwen-agent-probe-*")) == []

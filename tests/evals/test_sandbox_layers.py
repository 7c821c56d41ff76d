"""Each layer of the sandbox is there for something: without it, an attack gets through."""

import os

import pytest

from evals.bench.sandbox_layers import COVERED_BY, ONLY, WITNESSES, failures
from sandbox.bwrap import LAYERS

pytestmark = [pytest.mark.slow, pytest.mark.attack]


@pytest.mark.skipif(os.geteuid() != 0, reason="what some layers stop, only root can try")
@pytest.mark.parametrize("layer", LAYERS)
def test_an_attack_gets_through_without_it_and_not_with_it(layer: str) -> None:
    others, case = COVERED_BY.get(layer, ()), WITNESSES[layer]
    assert failures((layer, *others), case)
    assert not failures(others, case)


def test_no_row_names_a_layer_that_is_gone() -> None:
    assert set(WITNESSES) == set(LAYERS)
    assert set(COVERED_BY) | set(ONLY) <= set(LAYERS)

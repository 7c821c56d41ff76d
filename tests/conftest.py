"""What tests of several rooms share.

Kernels of Triton's are run by its interpreter: that must be said before torch imports it.
"""

import itertools
import os

import pytest
from hypothesis import HealthCheck, settings

os.environ["TRITON_INTERPRET"] = "1"
# How long an example takes says nothing here: other tests run beside it.
settings.register_profile("beside", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("beside")
_NUMBERS = itertools.count(98001)


@pytest.fixture
def nap() -> str:
    """So many seconds no other test sleeps, here or in a process beside: a mark to look for."""
    return f"{next(_NUMBERS)}.{os.getpid():07d}"

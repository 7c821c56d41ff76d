"""Kernels of Triton's are run by its interpreter: that must be said before torch imports it."""

import os

os.environ["TRITON_INTERPRET"] = "1"

"""Settings that all tests share: hypothesis profiles (``fast`` for the slow passes, ``default`` otherwise)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile("default", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fast", deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
# A broken kernel need not be explained, only noticed: no shrinking; and the same examples in every run.
no_shrinking = {"phases": (Phase.explicit, Phase.generate), "database": None, "deadline": None, "derandomize": True}
settings.register_profile("mutants", max_examples=8, suppress_health_check=[HealthCheck.too_slow], **no_shrinking)
settings.register_profile("mutants-many", max_examples=60, suppress_health_check=[HealthCheck.too_slow], **no_shrinking)
settings.register_profile("thorough", deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """``test_<op>.py`` beside ``minisam_kernels/<op>.py`` is a test of a kernel: the marker of the three passes."""
    kernels = {path.stem for path in (Path(__file__).parents[1] / "kernels" / "minisam_kernels").glob("*.py")}
    for item in items:
        if item.path.stem.removeprefix("test_") in kernels:
            item.add_marker("kernel")

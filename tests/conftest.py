"""Settings that all tests share: hypothesis profiles (``fast`` for the slow passes, ``default`` otherwise), and what
becomes of a test that needs torch where there is none, as in the textbook's own environment: it is skipped.

Tests marked ``gpu`` compute their oracle, or all of torch's part, on ``--device``: the CPU, or with ``-m gpu`` a GPU,
and are skipped where there is none.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

# With CI set, the examples are the same in every run; ``make test-random`` draws new ones.
ci = {"derandomize": True, "database": None} if os.environ.get("CI") else {}
shared: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", max_examples=40, **shared, **ci)
settings.register_profile("fast", max_examples=8, **shared, **ci)
settings.register_profile("thorough", max_examples=400, **shared, **ci)
# A broken kernel need not be explained, only noticed: no shrinking; and the same examples in every run.
no_shrinking = {"phases": (Phase.explicit, Phase.generate), "database": None, "derandomize": True}
settings.register_profile("mutants", max_examples=8, **shared, **no_shrinking)
settings.register_profile("mutants-many", max_examples=60, **shared, **no_shrinking)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


class NoTorch(importlib.abc.MetaPathFinder):
    """Skips whichever test, or whole file of tests, imports torch."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "torch":
            pytest.skip("needs torch (pip install '.[reference]')", allow_module_level=True)


if importlib.util.find_spec("torch") is None:
    sys.meta_path.insert(0, NoTorch())


@pytest.fixture(scope="module")
def torch_at_one_thread() -> Iterator[None]:
    """torch computes with one thread to the end of a file of tests, then with as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_addoption(parser: pytest.Parser) -> None:
    about = "where torch computes in tests marked gpu: cpu (default), cuda (default with -m gpu)"
    parser.addoption("--device", choices=("cpu", "cuda"), help=about)


def pytest_configure(config: pytest.Config) -> None:
    """Tell ``oracles``, which the tests import later."""
    chosen = config.getoption("--device") or ("cuda" if config.option.markexpr == "gpu" else "cpu")
    os.environ["MINISAM_TEST_DEVICE"] = chosen


def no_device() -> str:
    """Why tests on the chosen device cannot run; empty where they can."""
    if os.environ["MINISAM_TEST_DEVICE"] == "cpu" or importlib.util.find_spec("torch") is None:
        return ""
    import torch

    return "" if torch.cuda.is_available() else "no GPU that torch can use (--device cpu runs this test on the CPU)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """``tests/kernels`` are tests of kernels: the marker of the three passes, and of tests whose oracle can be on a
    GPU. What cannot run on the device is skipped."""
    kernels = Path(__file__).parent / "kernels"
    for item in items:
        if item.path.is_relative_to(kernels):
            item.add_marker("kernel")
            item.add_marker("gpu")
    reason = no_device()
    for item in items:
        if reason and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=reason))

"""What a call refuses: the one line of its ``InputError``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from minisam_kernels import InputError


def refusal(call: Callable[..., Any], *arguments: Any, most: int = 700) -> str:
    """Call, check what every refusal has in common, and return the message, of fewer than ``most`` characters."""
    with pytest.raises(InputError) as error:
        call(*arguments)
    text = str(error.value)
    assert text.startswith("expected") and ", got" in text and "\n" not in text and len(text) < most
    return text

"""Compiled loops whose answers are the same bits on every machine.

The kernels of the model are compiled with a few floating-point freedoms (``minisam_kernels.runtime.jit``): a sum may be
reordered, a multiply and an add may become one rounding. That is right for a network, where the seventh digit means
nothing. An image made from a seed is different: it is a file format of its own. A test, a training and a chapter name
a scene by its seed, so the pixels must not depend on whether a processor has fused multiply-add. The loops of this
package are therefore compiled without any fastmath freedom: every ``+ - * /`` and ``sqrt`` is then fixed by IEEE 754.

What IEEE 754 does not fix are ``sin``, ``exp``, ``pow``: libraries differ in the last bit. The package calls them only
outside of the compiled loops, and rounds what they return to a coarse grid (``snap``) before anything depends on it.
A difference in the last bit (1e-16) then moves a value to another grid point (1e-6 apart) about once in 10¹⁰ values.
"""

from __future__ import annotations

import numpy as np

from minisam_kernels.runtime.jit import compiler

GRID = 2.0**20


exact = compiler(fastmath=set())


def snap(values: np.ndarray) -> np.ndarray:
    """``values`` rounded to multiples of 2⁻²⁰ (float64), for results of ``sin``, ``exp`` and the like."""
    return np.rint(np.asarray(values, dtype=np.float64) * GRID) / GRID

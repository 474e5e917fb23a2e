"""Properties of ``fingerprint``. Each names the wrong versions that it kills; ``tests/mutants.py`` breaks them in."""

from __future__ import annotations

import enum
import os
import subprocess
import sys
from collections import namedtuple
from types import ModuleType

import numpy as np
import pytest
from numba import types
from numba.core.registry import CPUDispatcher

from minisam_kernels.runtime.fingerprint import fingerprint

# wrong version → (text in the file, its replacement)
MUTANTS = {
    "no globals": ("if name in function.__globals__:", "if False:"),
    "no closure": ("function.__closure__ or ()", "()"),
    "no code": ("    words.append(code)\n", ""),
    "no constants of the code": ("            _add_value(constant, (), words, {})\n", "            pass\n"),
    "no code inside": ("            words.append(inside)\n", ""),
    "no names of code inside": ("            names += more\n", ""),
    "no options": ("_add_value(sorted(value.targetoptions.items()), attributes, words, seen)", "pass"),
    "only one level": ("            _add_value(value.py_func, attributes, words, seen)", "            pass"),
    "sets in any order": ("words += sorted(map(repr, value))", "words += map(repr, value)"),
    "no types": ("    words.append(kind.__qualname__)\n", ""),
    "an array's bytes alone": ('f"{layout} {value.shape} {value', 'f"{value'),
    "no attributes of modules": ("if hasattr(value, name):", "if False:"),
    "no values of an enumeration": ("(value.name, value.value), attributes", "value.name, attributes"),
    "the kernel calls itself": ("and each is not kernel]", "]"),
}

SOURCE = """
@kept
def inner(x):
    return x * C

@kept
def middle(x):
    return (lambda y: inner(y) + other.C)(x)

def make(c):
    @kept
    def closed(x):
        return x + c
    return closed

@kept
def outer(x):
    return middle(x) if x > 0 else outer(-x)

@kept
def apart(x):
    return x
"""
Pair = namedtuple("Pair", "a b")


One, Two = (enum.IntEnum("Number", {"A": value}) for value in (1, 2))  # equal but for the value


def kept(function, **options):
    return CPUDispatcher(function, targetoptions={"nopython": True} | options)


def module(constant, source=SOURCE, **options):
    """A fresh module whose kernels read ``constant``, as a process makes it that imports the file."""
    made = ModuleType("made")
    made.C, made.other = constant, ModuleType("other")
    made.other.C = 1
    made.kept = lambda function: kept(function, **options)
    exec(source, made.__dict__)
    return made


def prints(made):
    return [fingerprint(kernel)[0] for kernel in (made.inner, made.middle, made.outer)]


RECORD = np.array([(1, 2.0)], [("a", np.int32), ("b", np.float32)])
CHANGES = {
    "float": (1.0, 1.0000000000000002),
    "int": (1, 2),
    "kind of number": (1, 1.0),
    "bool": (True, 1),
    "sign of 0": (0.0, -0.0),
    "complex": (1j, 2j),
    "str": ("a", "b"),
    "None": (None, 0),
    "bytes": (b"a", "a"),
    "tuple": ((1, 2), (1, 3)),
    "tuple inside": ((1, (2, 3)), (1, (2, 4))),
    "depth of tuples": (((1,), 2), ((1, 2),)),
    "type of tuple": (Pair(1, 2), (1, 2)),
    "named tuple": (Pair(1, 2), Pair(1, 3)),
    "array": (np.zeros(3), np.array([0, 0, 1.0])),
    "array's dtype": (np.zeros(2, np.float32), np.zeros(2, np.int32)),
    "array's shape": (np.zeros((2, 3)), np.zeros((3, 2))),
    "array in a tuple": ((np.zeros(2),), (np.ones(2),)),
    "float32": (np.float32(1), np.float32(2)),
    "width of float": (np.float32(1), np.float64(1)),
    "class of numbers": (np.float32, np.float64),
    "record": (RECORD, RECORD.view([("x", np.int32), ("b", np.float32)])),
    "one record": (RECORD[0], RECORD.copy().tolist()),
    "member": (One.A, Two.A),
    "enumeration": (One, Two),
    "frozenset": (frozenset("ab"), frozenset("ac")),
    "infinity": (float("inf"), float("nan")),
    "large int": (2**70, 2**70 + 1),
    "type of Numba": (types.float32, 1),
    "function": (np.sin, np.cos),
    "text beyond Unicode": ("\ud800", "\ud801"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_constant_counts_wherever_it_is_read(name):
    """Read by the kernel, by one that it calls, and by one that that calls; the same value gives the same hash.

    Kills: no globals, only one level, no types, an array's bytes alone, no names of code inside, no values of an
    enumeration."""
    old, new = (prints(module(value)) for value in CHANGES[name])
    assert old == prints(module(CHANGES[name][0])) and len({*old, *new}) == 6


def test_what_else_counts():
    """Kills: no code, no constants of the code, no code inside, no options, no closure, no attributes of modules."""
    made = module(1)
    base = prints(made)
    made.other.C = 2
    assert [a == b for a, b in zip(prints(made), base)] == [True, False, False], "another module's constant"
    for old, new in (("x * C", "x / C"), ("return x * C", "return x * C + 3"), ("inner(y) +", "inner(y) -")):
        assert prints(module(1, SOURCE.replace(old, new)))[1] != base[1]
    assert (
        prints(module(1, SOURCE.replace("x * C", "x * C + 3")))[0]
        != prints(module(1, SOURCE.replace("x * C", "x * C + 4")))[0]
    )
    assert prints(module(1, fastmath={"nsz"}))[0] not in (base[0], prints(module(1, fastmath={"arcp"}))[0])
    closed = [fingerprint(made.make(c))[0] for c in (1, 2, 1, module(1).inner, module(2).inner)]
    assert closed[0] == closed[2] and len(set(closed)) == 4
    before = fingerprint(made.apart)[0]
    made.C = made.other.C = 9
    assert fingerprint(made.apart)[0] == before, "a constant that it does not read"


def test_the_kernels_that_a_kernel_calls():
    """Kills: the kernel calls itself."""
    made = module(1)
    called = [fingerprint(kernel)[1] for kernel in (made.inner, made.middle, made.outer)]
    assert called == [[], [made.inner], [made.middle, made.inner]]


def test_processes_agree():
    """Every kernel of the package, with Python's hashes of text in another order. Kills: sets in any order."""
    code = (
        "import importlib, pkgutil, minisam_kernels as k\n"
        "from minisam_kernels.runtime.fingerprint import fingerprint\n"
        "for m in pkgutil.walk_packages(k.__path__, 'minisam_kernels.'):\n"
        "    for name, value in vars(importlib.import_module(m.name)).items():\n"
        "        if hasattr(value, 'py_func'): print(m.name, name, fingerprint(value)[0])\n"
    )
    runs = []
    for seed in "12":
        environment = os.environ | {"PYTHONHASHSEED": seed, "NUMBA_DISABLE_JIT": "0"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        runs.append(done.stdout)
    assert runs[0] == runs[1] and runs[0].count("\n") > 60

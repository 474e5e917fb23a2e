"""The pickle in a checkpoint, read and never run.

A pickle is a program, and Python's unpickler runs it: it may call any function there is. Nothing is unpickled here.
``instructions`` splits the program, ``interpret`` carries out what builds dicts, lists and tuples, and notes which
tensors there are. All else (NumPy arrays, dates, paths, classes of other people) becomes an ``Inert`` that only carries
a name: names are compared as text and never looked up. A name that can only be an attack refuses the file.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minisam.checkpoints.names import shorten
from minisam_kernels import InputError

MAX_INSTRUCTIONS = 1 << 18  # 0.3 s; a training's checkpoint of ViT-H has a third
MIN_OBJECTS = 1 << 17  # containers, texts and memo entries that any file may make; 64 bytes of a file allow one more
MAX_TEXT = 1024  # bytes of a text that are kept

DICTS = ("collections OrderedDict", "collections defaultdict", "builtins dict")
TENSORS = ("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3", "torch._utils _rebuild_tensor")
PARAMETERS = ("torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state")
SUBCLASS = "torch._tensor _rebuild_from_type_v2"  # (function, type, arguments, state)
ATTACKS = {"os", "posix", "nt", "subprocess", "sys", "shutil", "socket", "runpy", "importlib", "pty", "ctypes"}
ATTACKS |= {"torch.hub", "torch load", "torch.serialization load", "numpy load", "pickle loads", "pickle load"}
ATTACKS |= {"io open", "_io open", "_io FileIO", "commands"}  # subprocess, to Python 2
ATTACKS |= {f"builtins {name}" for name in ("eval", "exec", "compile", "open", "__import__", "input", "breakpoint")}

_WIDTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_OPCODES = {ord(op.code): (op.name, op.arg.n if op.arg else 0) for op in pickletools.opcodes}
_MARK = object()


class Inert:
    """Something that a pickle names, makes or calls and that no weight needs: its name, and nothing that can run."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


@dataclass(frozen=True, slots=True)
class Storage:
    """A reference to ``count`` numbers in the archive's entry ``key``; ``kind`` is torch's name of their type."""

    kind: str
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage; offset and strides count numbers, as torch does. Not checked yet."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


NUMBER, BYTES, SET = Inert("number"), Inert("bytes"), Inert("set")
# Instructions that put the same thing on the stack whatever their argument
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "MARK": _MARK, "EMPTY_SET": SET}
_CONSTANTS |= dict.fromkeys(("BINFLOAT", "FLOAT"), NUMBER)
_CONSTANTS |= dict.fromkeys(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "NEXT_BUFFER", "PERSID"), BYTES)


def instructions(program: memoryview) -> Iterator[tuple[str, bytes]]:
    """(Name of the opcode, its argument's bytes) one after the other. Of a long text only the beginning is copied."""
    position, end = 0, len(program)
    for _ in range(MAX_INSTRUCTIONS):
        name, size = _OPCODES[program[position]]
        position += 1
        if not size:
            argument = b""
        elif size == pickletools.UP_TO_NEWLINE:
            lines = 2 if name in ("GLOBAL", "INST") else 1
            parts = bytes(program[position : position + MAX_TEXT]).split(b"\n", lines)
            if len(parts) <= lines:
                raise ValueError(f"a line of {name} has no end")
            argument = b" ".join(parts[:lines])
            position += len(argument) + 1
        else:
            if size < 0:
                width = _WIDTHS[size]
                size = int.from_bytes(program[position : position + width], "little")
                position += width
            argument = bytes(program[position : position + min(size, MAX_TEXT)])
            position += size
        if position > end:
            raise ValueError(f"{name} goes past the end")
        yield name, argument
    raise InputError(f"expected at most {MAX_INSTRUCTIONS} instructions in data.pkl, got more")


def _as_global(name: bytes) -> Inert:
    """A name "module function", as text. Refuses what stands in no checkpoint but one made to harm."""
    text = name.decode("utf-8", "replace")
    text = text.replace("__builtin__ ", "builtins ")  # Python 2's name of it, which protocols below 3 write
    module = text.partition(" ")[0]
    if {text, module} & ATTACKS:
        shown = shorten(text.replace(" ", "."))
        raise InputError(f"expected weights, got the forbidden name {shown!r}; nothing was run")
    return Inert(text)


def _call(function: Any, arguments: Any) -> Any:
    """What the call of a name gives: a dict, a tensor, or the inert name itself."""
    if not isinstance(function, Inert):
        return Inert("a call of something that is no function")
    arguments = arguments if isinstance(arguments, tuple) else ()
    if function.name in DICTS:
        listed = arguments[0] if arguments and isinstance(arguments[0], list) else []
        pairs = [pair for pair in listed if isinstance(pair, list | tuple) and len(pair) == 2]
        return _update({}, [item for pair in pairs for item in pair])
    if function.name == SUBCLASS and len(arguments) >= 3 and getattr(arguments[0], "name", SUBCLASS) != SUBCLASS:
        return _call(arguments[0], arguments[2])
    if function.name in PARAMETERS and arguments and isinstance(arguments[0], Tensor):
        return arguments[0]
    if function.name in TENSORS and len(arguments) >= 4:
        storage, offset, size, stride = arguments[:4]
        whole = isinstance(storage, Storage) and isinstance(size, tuple) and isinstance(stride, tuple)
        if whole and all(type(number) is int for number in (offset, *size, *stride)):
            if function.name.endswith("v3") and len(arguments) > 6 and isinstance(arguments[6], Inert):
                storage = Storage(arguments[6].name, storage.key, storage.count)
            return Tensor(storage, offset, size, stride)
    return function


def _update(target: Any, items: list[Any]) -> Any:
    """Put keys and values into a dict; keys that are no texts, as an optimiser has them, name no weights."""
    if isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2]):
            if isinstance(key, bytes):
                target[key.decode("utf-8", "replace")] = value
    return target


def _number(name: str, raw: bytes) -> Any:
    """A whole number of up to 64 bits, which sizes are; another is inert."""
    if name in ("INT", "LONG"):
        text = raw.rstrip(b"L")
        return int(text) if len(text) < 20 else NUMBER
    return int.from_bytes(raw, "little", signed=name in ("BININT", "LONG1")) if len(raw) <= 8 else NUMBER


def _storage(persistent: Any) -> Any:
    """What a persistent reference is: ("storage", its type, its entry, the device, how many numbers)."""
    if isinstance(persistent, tuple) and len(persistent) == 5 and persistent[0] == b"storage":
        _, kind, key, _, count = persistent
        if isinstance(kind, Inert) and isinstance(key, bytes) and type(count) is int:
            return Storage(kind.name, key.decode("utf-8", "replace"), count)
    return Inert("a reference to an object outside")


def interpret(program: memoryview, size: int) -> Any:
    """What the pickle in a file of ``size`` bytes builds: dicts, lists, tuples, ``Tensor`` and ``Inert``."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    objects, most = 0, max(MIN_OBJECTS, size // 64)

    def pop_to_mark() -> list[Any]:
        start = len(stack) - 1
        while stack[start] is not _MARK:
            start -= 1
            if start < 0:
                raise ValueError("there is no mark on the stack")
        items = stack[start + 1 :]
        del stack[start:]
        return items

    def index(name: str, raw: bytes) -> int:
        return int(raw) if name in ("PUT", "GET") else int.from_bytes(raw, "little")

    for name, raw in instructions(program):
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
            continue
        match name:
            case "BINPUT" | "LONG_BINPUT" | "PUT" | "MEMOIZE":
                memo[len(memo) if name == "MEMOIZE" else index(name, raw)] = stack[-1]
                objects += 1
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(memo[index(name, raw)])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "LONG4" | "INT" | "LONG":
                stack.append(_number(name, raw))
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8" | "UNICODE" | "BINSTRING" | "SHORT_BINSTRING":
                stack.append(raw)
                objects += 1
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3" | "LIST" | "EMPTY_LIST" | "DICT" | "EMPTY_DICT":
                if name.startswith("TUPLE"):
                    items = pop_to_mark() if name == "TUPLE" else [stack.pop() for _ in range(int(name[-1]))][::-1]
                    stack.append(tuple(items))
                elif name.endswith("LIST"):
                    stack.append([] if name == "EMPTY_LIST" else pop_to_mark())
                else:
                    stack.append({} if name == "EMPTY_DICT" else _update({}, pop_to_mark()))
                objects += 1
            case "STRING":
                stack.append(raw.strip(b"'\""))
                objects += 1
            case "SETITEM" | "SETITEMS":
                items = pop_to_mark() if name == "SETITEMS" else [stack.pop(), stack.pop()][::-1]
                _update(stack[-1], items)
            case "APPEND" | "APPENDS" | "ADDITEMS":
                items = [stack.pop()] if name == "APPEND" else pop_to_mark()
                if isinstance(stack[-1], list):
                    stack[-1].extend(items)
            case "BUILD":  # the attributes of an object, or of a dict (its _metadata)
                stack.pop()
            case "GLOBAL" | "STACK_GLOBAL":
                if name == "STACK_GLOBAL":
                    function, module = stack.pop(), stack.pop()
                    raw = module + b" " + function
                stack.append(_as_global(raw))
                objects += 1
            case "REDUCE" | "NEWOBJ" | "NEWOBJ_EX":
                if name == "NEWOBJ_EX":  # the arguments by name
                    stack.pop()
                arguments, function = stack.pop(), stack.pop()
                stack.append(_call(function, arguments))
            case "OBJ" | "INST":
                items = pop_to_mark()
                function = _as_global(raw) if name == "INST" else items.pop(0)
                stack.append(_call(function, tuple(items)))
                objects += 1
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
                objects += 1
            case "FROZENSET":
                pop_to_mark()
                stack.append(SET)
            case "EXT1" | "EXT2" | "EXT4":
                stack.append(Inert("an extension"))
                objects += 1
            case "POP":
                stack.pop()
            case "POP_MARK":
                pop_to_mark()
            case "DUP":
                stack.append(stack[-1])
            case "STOP":
                return stack.pop()
        if objects > most:
            raise InputError(f"expected at most {most} objects in data.pkl of a file of {size} bytes, got more")
    raise ValueError("the pickle has no end")

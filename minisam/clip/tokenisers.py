"""Texts become rows of whole numbers: start, one number per word or piece of a word, end, then zeros.

``Words`` has one token per word of a short list, and is what our small towers read. ``Pieces`` is the byte-pair encoding
of the real CLIP (Sennrich et al. 2016 on bytes). Both clean a text first, as open_clip does, without its ``ftfy``: text
whose encoding was mangled on the way ("schÃ¶n") stays mangled.
"""

from __future__ import annotations

import html
import json
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from minisam_kernels import InputError

ARTICLES = frozenset(("a", "an", "the"))  # "a car", "the car" and "car" are one text for ``Words``
CONTRACTIONS = ("'re", "'ve", "'ll", "'s", "'t", "'m", "'d")
START, END = "<|startoftext|>", "<|endoftext|>"


class Tokeniser(Protocol):
    """``size`` tokens, of which the last two are start and end."""

    size: int

    def encode(self, text: str, context: int) -> list[int]:
        """``context`` whole numbers; ``InputError`` for a text that has no words, or does not fit."""


def clean(text: str) -> str:
    """Lower case, HTML's entities read twice ("&amp;lt;" is "<"), composed characters, one space between words.

    Raises
    ------
    InputError
        If nothing remains.
    """
    if not isinstance(text, str):
        raise InputError(f"expected a text, got {text!r:.60}")
    cleaned = " ".join(unicodedata.normalize("NFC", html.unescape(html.unescape(text))).split()).lower()
    if not any(character.isalnum() for character in cleaned):
        raise InputError(f"expected words, got {text!r:.60}")
    return cleaned


def _row(tokens: list[int], size: int, context: int, text: str) -> list[int]:
    """Start and end around ``tokens``, and zeros behind."""
    if len(tokens) > context - 2:
        raise InputError(f"expected a text of at most {context - 2} tokens, got {len(tokens)}: {text!r:.60}")
    return [size - 2, *tokens, size - 1] + [0] * (context - 2 - len(tokens))


def words_of(text: str) -> list[str]:
    """The words of a text, cleaned, without articles and without what is no letter, digit or hyphen."""
    spaced = "".join(character if character.isalnum() or character == "-" else " " for character in clean(text))
    words = [word for word in spaced.split() if word.strip("-") and word not in ARTICLES]
    if not words:
        raise InputError(f"expected words other than articles, got {text!r:.60}")
    return words


class Words:
    """One token per word: 1 for the first of ``words``; 0 is nothing."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self.numbers = {word: number for number, word in enumerate(self.words, 1)}
        self.size = len(self.words) + 3
        if len(self.numbers) != len(self.words):
            raise InputError("expected each word of a vocabulary once, got one twice")

    def unknown(self, text: str) -> list[str]:
        """The words of ``text`` that have no token, in order."""
        return [word for word in words_of(text) if word not in self.numbers]

    def encode(self, text: str, context: int) -> list[int]:
        """``text`` as ``context`` whole numbers."""
        unknown = self.unknown(text)
        if unknown:
            raise InputError(f"expected words that the model knows, got {', '.join(map(repr, unknown)):.120}")
        return _row([self.numbers[word] for word in words_of(text)], self.size, context, text)

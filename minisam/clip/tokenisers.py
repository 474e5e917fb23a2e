"""Texts become rows of whole numbers: start, one number per word or piece of a word, end, then zeros.

``Words`` has one token per word of a short list, and is what our small towers read. ``Pieces`` is the byte-pair
encoding of the real CLIP (Sennrich et al. 2016 on bytes). Both clean a text first, as open_clip does, without its
``ftfy``: text whose encoding was mangled on the way ("schÃ¶n") stays mangled. Texts that are too long are refused, not
cut off.
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


class Pieces:
    """Byte-pair encoding, from a folder with ``vocab.json`` and ``merges.txt``, as transformers' ``CLIPTokenizer``.

    A word is its UTF-8 bytes; pairs of neighbours are joined, the pair that stands first in ``merges.txt`` first, until
    no pair is listed. The last piece of a word ends in ``</w>``.
    """

    def __init__(self, folder: str | Path) -> None:
        self.vocabulary, merges = _read_vocabulary(Path(folder))
        self.size = len(self.vocabulary)
        if sorted(self.vocabulary.values()) != list(range(self.size)):
            raise InputError(f"expected tokens 0 to {self.size - 1} in {Path(folder) / 'vocab.json'}, got others")
        if (self.vocabulary.get(START), self.vocabulary.get(END)) != (self.size - 2, self.size - 1):
            raise InputError(f"expected {START} and {END} as the last two tokens of vocab.json, got others")
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.letters = _letters()

    def encode(self, text: str, context: int) -> list[int]:
        """``text`` as ``context`` whole numbers."""
        pieces = [piece for word in split(clean(text)) for piece in self.pieces(word)]
        missing = [piece for piece in pieces if piece not in self.vocabulary]
        if missing:
            raise InputError(f"expected a vocab.json with all pieces of {text!r:.60}, got none for {missing[0]!r:.40}")
        return _row([self.vocabulary[piece] for piece in pieces], self.size, context, text)

    def pieces(self, word: str) -> list[str]:
        """The pieces of one word, joined as far as ``merges.txt`` goes."""
        parts = [self.letters[byte] for byte in word.encode()]
        parts[-1] += "</w>"
        while len(parts) > 1:
            first = min(zip(parts, parts[1:]), key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if first not in self.ranks:
                break
            joined, i = [], 0
            while i < len(parts):
                both = tuple(parts[i : i + 2]) == first
                joined.append("".join(first) if both else parts[i])
                i += 2 if both else 1
            parts = joined
        return parts


def split(text: str) -> list[str]:
    """The words of a cleaned text: contractions, runs of letters, single digits, runs of what else is no space."""
    words: list[str] = []
    i = 0
    while i < len(text):
        contraction = next((c for c in CONTRACTIONS if text.startswith(c, i)), "")
        kind, end = _kind(text[i]), i + 1
        while kind in "LO" and end < len(text) and _kind(text[end]) == kind:
            end += 1
        end = i + len(contraction) if contraction else end
        if kind != "Z":
            words.append(text[i:end])
        i = end
    return words


def _kind(character: str) -> str:
    """L letter, N number, Z space, O other."""
    if character.isspace():
        return "Z"
    category = unicodedata.category(character)[0]
    return category if category in "LN" else "O"


@lru_cache
def _letters() -> list[str]:
    """A printable character for each byte: itself where it is printable in Latin-1, else one from 256 on, in order."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _read_vocabulary(folder: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """(Piece → token, pairs in the order of joining)."""
    try:
        vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"expected vocab.json and merges.txt in {folder}, got: {reason}") from error
    pairs = [tuple(line.split(" ")) for line in lines if line.strip() and not line.startswith("#version")]
    whole = isinstance(vocabulary, dict) and all(type(token) is int for token in vocabulary.values())
    if not whole or any(len(pair) != 2 for pair in pairs):
        raise InputError(f"expected pieces with whole numbers and lines of two pieces in {folder}, got something else")
    return vocabulary, pairs  # type: ignore[return-value]

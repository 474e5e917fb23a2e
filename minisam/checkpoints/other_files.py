"""What a file is that is no checkpoint, and what to do about it: one phrase for an error."""

from __future__ import annotations

import re
from pathlib import Path

RESAVE = "torch.save(torch.load(old, weights_only=True), new) with torch 1.6 or later writes one"
_TORCH_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"  # the number that torch.save wrote first until 1.6
_WEB = re.compile(rb"\s*<(!doctype|html|head|body|!--|\?xml|script|error)", re.IGNORECASE)
# The first bytes → what it is
_KINDS = (
    (b"version https://git-lfs", "a git-lfs pointer instead of the file: git lfs pull fetches it"),
    (b"\x1f\x8b", "a file that gzip packed: unpack it first"),
    (b"BZh", "a file that bzip2 packed: unpack it first"),
    (b"\xfd7zXZ\0", "a file that xz packed: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a file that zstd packed: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"\x89HDF", "an HDF5 file (.h5), as Keras writes"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"GGUF", "a GGUF file"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"II*\0", "an image"),
    (b"%PDF", "a PDF"),
)


def what_it_is(path: Path, start: bytes) -> str:
    """A file by its first 512 bytes; empty where they say nothing."""
    start = start.removeprefix(b"\xef\xbb\xbf")
    for magic, kind in _KINDS:
        if start.startswith(magic):
            return kind
    if _WEB.match(start):
        return "a web page instead of the file (a download that needs a login or another address)"
    if start[257:262] == b"ustar" or b"sys_info\0" in start[:100]:
        return f"a tar archive, as torch.save wrote until 2017, or a packed folder: unpack it, or {RESAVE}"
    if _TORCH_MAGIC in start[:20]:
        return f"an older file of torch.save, without a zip archive: {RESAVE}"
    if (start[:1] == b"\x80" and start[1:2] <= b"\x05") or re.match(rb"\([dl]p?0|c(collections|numpy|torch)", start):
        return "a bare pickle, which is not opened, as it may run anything: torch.save(its dict of tensors, new) first"
    if start and not start.strip(b"\0"):
        return "nothing but zeros where it begins (a download that did not finish)"
    if re.match(rb"\s*[\[{]", start) and path.suffix != ".safetensors":
        return "a text in JSON"
    return ""

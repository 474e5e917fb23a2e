#!/usr/bin/env bash
# Pillow loses the transparent colour of PNG files that are grey with 2 or 4 bits.
#
# Expected: a PNG names one grey value as transparent (tRNS); convert("RGBA") gives those pixels alpha 0, as it does with
# 8 bits.
# Seen: pixels of 2 and 4 bits are widened to 8 when read, the transparent value is not, so none matches:
# every pixel is opaque. With 8 and 16 bits it works.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pillow==13.0.0 numpy
"$folder/venv/bin/python" - <<'EOF'
import io
import struct
import zlib

import numpy as np
import PIL
from PIL import Image


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def grey_png(bits: int) -> bytes:
    """Two pixels, the first of value 2 and the second of value 1; 2 is transparent."""
    row = {2: bytes([0b10_01_00_00]), 4: bytes([0x21]), 8: bytes([2, 1]), 16: bytes([0, 2, 0, 1])}[bits]
    head = struct.pack(">IIBBBBB", 2, 1, bits, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"tRNS", struct.pack(">H", 2)) + chunk(b"IDAT", zlib.compress(b"\0" + row))
    return b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IEND", b"")


alphas = {}
for bits in (2, 4, 8, 16):
    alphas[bits] = np.asarray(Image.open(io.BytesIO(grey_png(bits))).convert("RGBA"))[0, :, 3].tolist()
print("Pillow", PIL.__version__)
print("expected: alpha [0, 255] for all. seen, by bits:", alphas)
assert alphas[8] == alphas[16] == [0, 255] and alphas[2] == alphas[4] == [255, 255], "changed"
EOF

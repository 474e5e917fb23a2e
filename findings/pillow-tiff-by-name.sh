#!/usr/bin/env bash
# Pillow shows other pixels of the same TIFF when it is opened by its name than when it is opened as a file object.
#
# Expected: Image.open(path) and Image.open(open(path, "rb")) give one image: as stored, or turned upright, as Pillow
# does with a TIFF that has an orientation.
# Seen: an uncompressed grey TIFF with orientation 6 (a quarter turn, as cameras and scanners write it), opened by name,
# is mapped into memory and then turned as if its rows had another length: neither the stored nor the turned pixels, in
# another shape, without any warning. As a file object it is right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pillow==13.0.0 numpy
"$folder/venv/bin/python" - "$folder/turned.tif" <<'EOF'
import sys

import numpy as np
import PIL
from PIL import Image

stored = np.arange(24, dtype=np.uint8).reshape(4, 6)
exif = Image.Exif()
exif[0x0112] = 6
Image.fromarray(stored).save(sys.argv[1], exif=exif)
named = np.asarray(Image.open(sys.argv[1]))
with open(sys.argv[1], "rb") as file:
    opened = np.asarray(Image.open(file))
turned = np.rot90(stored, -1)
print("Pillow", PIL.__version__)
print("expected: two equal arrays. seen: by name\n", named, "\nas a file object\n", opened)
assert np.array_equal(opened, turned), "changed: the file object"
assert not np.array_equal(named, turned) and not np.array_equal(named, stored), "changed: the name"
EOF

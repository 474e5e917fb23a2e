#!/usr/bin/env bash
# shapely.build_area of the edges of a mask's pixels may have more area than the mask has pixels.
#
# Expected: the lines between pixels inside and outside a mask bound it on every side, so the area formed by them is
# that of the mask, holes left out; GEOS documents that holes are found.
# Seen: a hole whose corner touches the outside of the mask is filled. Of 3 × 3 pixels, five set around an empty
# middle, the area is 6. The union of five unit squares has 5; so has shapely.polygonize, with only those faces kept
# whose inner point is a pixel of the mask.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q shapely==2.2.0 numpy
"$folder/venv/bin/python" - <<'EOF'
import numpy as np
import shapely

mask = np.array([[0, 1, 0], [1, 0, 1], [1, 1, 0]], bool)
around = np.pad(mask, 1)
upright = [((x, y - 1), (x, y)) for y, x in np.argwhere(around[:, 1:] != around[:, :-1]).tolist()]
level = [((x - 1, y), (x, y)) for y, x in np.argwhere(around[1:] != around[:-1]).tolist()]
lines = shapely.multilinestrings([shapely.linestrings(line) for line in upright + level])
area = shapely.build_area(lines).area
squares = shapely.union_all([shapely.box(x, y, x + 1, y + 1) for y, x in np.argwhere(mask).tolist()]).area
faces = shapely.polygonize(list(lines.geoms)).geoms
kept = sum(face.area for face in faces if mask[int(face.point_on_surface().y), int(face.point_on_surface().x)])
print("shapely", shapely.__version__, "GEOS", shapely.geos_version_string)
print(f"expected: 5, as the mask has pixels. seen: build_area {area:g}, union of squares {squares:g}, faces {kept:g}")
assert (area, squares, kept) == (6, 5, 5), "changed"
EOF

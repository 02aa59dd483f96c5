#!/usr/bin/env bash
# ecCodes 2.50.0: packingType set to grid_second_order, as grib_set -r -s packingType=grid_second_order does it to make
# fields smaller without a loss. Expected: the same values, or an error where an edition has no such packing. Seen: of
# GRIB edition 1 the same values; of edition 2, in which it is one of the centre's own templates, a message that says it
# is packed so and that every field but a constant one is decoded from as other numbers, whole ones from 0 to
# 2**bitsPerValue: the reference value and the scale factors are not set. No error, neither when it is packed nor when
# it is read. grid_ccsds and grid_jpeg of both editions give the same values. Whoever packs anew compares the values.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check eccodes==2.50.0 eccodeslib==2.50.0.33 2>/dev/null
environment/bin/python -W ignore - <<'P'
import eccodes
import numpy as np

print("ecCodes", eccodes.codes_get_api_version())
field = np.linspace(250.0, 300.0, 16 * 31)


def packed(edition, packing):
    message = eccodes.codes_grib_new_from_samples(f"regular_ll_pl_grib{edition}")
    eccodes.codes_set(message, "bitsPerValue", 16)
    eccodes.codes_set_values(message, field)
    before = eccodes.codes_get_values(message)
    assert np.abs(before - field).max() < 0.001
    eccodes.codes_set(message, "packingType", packing)
    again = eccodes.codes_new_from_message(eccodes.codes_get_message(message))
    assert eccodes.codes_get(again, "packingType") == packing
    return before, eccodes.codes_get_values(again)


found = {}
for edition in (1, 2):
    for packing in ("grid_second_order",) + (("grid_ccsds", "grid_jpeg") if edition == 2 else ()):
        before, after = packed(edition, packing)
        change = f"{before.min():.1f} to {before.max():.1f} becomes {after.min():.1f} to {after.max():.1f}"
        print(f"edition {edition}, {packing}: {change}")
        found[edition, packing] = "same" if (before == after).all() else "whole" if (after == after.round()).all() else "other"
seen = dict.fromkeys(found, "same") | {(2, "grid_second_order"): "whole"}
raise SystemExit(found != seen)
P

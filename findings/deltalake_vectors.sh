#!/usr/bin/env bash
# deltalake 1.6.6, a Delta table of one file of data with a deletion vector in a file of its own beside it, by Delta's
# protocol; all of it is 30 days old. Its query engine reads the table by that vector: 7 rows of 10. Expected of
# vacuum(full=True): the vector that the newest version names is needed, or the table is refused, as to_pyarrow_table does
# for its feature deletionVectors. Seen: the dry run lists the vector among the orphans, the real run deletes it, and the
# table cannot be read any more. So does it with metadata/, by which readers of Iceberg know a table with UniForm. Whoever
# trusts a dry run of VACUUM for what is unneeded has to leave out both. Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check deltalake==1.6.6 pyarrow==26.0.1 2>/dev/null
"$place/venv/bin/python" - "$place" <<'P'
import json
import os
import pathlib
import string
import struct
import sys
import time
import uuid
import zlib

import deltalake
import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from deltalake.exceptions import DeltaError

table = pathlib.Path(sys.argv[1]) / "t"
write_deltalake(table, pa.table({"a": range(10)}))
told = [json.loads(line) for line in (table / f"_delta_log/{0:020}.json").read_text().splitlines()]
[added] = [one["add"] for one in told if "add" in one]


def z85(number: uuid.UUID) -> str:
    signs = string.digits + string.ascii_lowercase + string.ascii_uppercase + ".-:+=^!/*?&<>()[]{}@%$#"
    words = [int.from_bytes(number.bytes[at : at + 4], "big") for at in range(0, 16, 4)]
    return "".join(signs[word // 85**n % 85] for word in words for n in (4, 3, 2, 1, 0))


# magic number, then one 32-bit bitmap: cookie, one container (key 0, three values) at offset 16, the rows 1, 2 and 3
vector = struct.pack("<IQIIIHHIHHH", 1681511377, 1, 0, 12346, 1, 0, 2, 16, 1, 2, 3)
number = uuid.uuid4()
name = f"deletion_vector_{number}.bin"
(table / name).write_bytes(b"\1" + struct.pack(">I", len(vector)) + vector + struct.pack(">I", zlib.crc32(vector)))
feature = ["deletionVectors"]
protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": feature, "writerFeatures": feature}
names = {"storageType": "u", "pathOrInlineDv": z85(number), "offset": 1, "sizeInBytes": len(vector), "cardinality": 3}
gone = {"path": added["path"], "deletionTimestamp": int(time.time() * 1000), "dataChange": True}
lines = [{"protocol": protocol}, {"remove": gone}, {"add": {**added, "deletionVector": names}}]
(table / f"_delta_log/{1:020}.json").write_text("\n".join(map(json.dumps, lines)))
(table / "metadata").mkdir()
(table / "metadata/v1.metadata.json").write_text("{}")
for path in table.rglob("*"):
    os.utime(path, (time.time() - 30 * 86400,) * 2)


def rows() -> int | str:
    try:
        counted = QueryBuilder().register("t", DeltaTable(table)).execute("SELECT count(*) n FROM t").read_all()
    except DeltaError as error:
        return str(error).partition(str(table))[0]
    return pa.table(counted)["n"][0].as_py()


before = rows()
listed = sorted(DeltaTable(table).vacuum(dry_run=True, full=True))
DeltaTable(table).vacuum(dry_run=False, full=True)
after = rows()
print(f"deltalake {deltalake.__version__}: {before} rows; a dry run lists {listed}; after the real one: {after}")
seen = (before, listed, (table / name).exists(), isinstance(after, str) and "File not found" in after)
raise SystemExit(seen != (7, [name, "metadata/v1.metadata.json"], False, True))
P

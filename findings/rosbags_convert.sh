#!/usr/bin/env bash
# rosbags 0.11.9: rosbags-convert from MCAP to MCAP with zstd, as one does to make a bag smaller. Expected: the same bag in
# another compression, or a word of what is not taken along. Seen: exit 0 and not a word; messages and their log times are
# there. Each publish time is the log time, each sequence 0; attachments are gone, and so is each metadata record but one
# that it writes itself. What calibration and latencies were is known from the source alone.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check \
  rosbags==0.11.9 mcap==1.6.0 2>/dev/null
PATH="$place/venv/bin:$PATH"
cd "$place"
python - <<'P'
import pathlib
import subprocess
from importlib.metadata import version

from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Bag
from rosbags.typesys import Stores, get_typestore

STRING = "std_msgs/msg/String"
types = get_typestore(Stores.ROS2_HUMBLE)
with Bag("source", version=9, storage_plugin=StoragePlugin.MCAP) as bag:  # the folder, and what goes with its messages
    connection = bag.add_connection("/said", STRING, typestore=types)
    for number in range(5):
        bag.write(connection, 1_000 + number, types.serialize_cdr(types.types[STRING](f"message {number}"), STRING))
[source] = pathlib.Path("source").glob("*.mcap")
with source.open("rb") as file:
    messages = list(make_reader(file).iter_messages())
with source.open("wb") as file:  # the same messages, and all else that an MCAP may hold
    writer = Writer(file, compression=CompressionType.LZ4)
    writer.start("ros2", "recorder")
    schema, channel, _ = messages[0]
    known = writer.register_schema(schema.name, schema.encoding, schema.data)
    topic = writer.register_channel(channel.topic, channel.message_encoding, known, channel.metadata)
    for number, (_, _, message) in enumerate(messages):
        writer.add_message(topic, message.log_time, message.data, message.log_time - 500, number + 10)
    writer.add_attachment(1_000, 1_000, "calibration.yaml", "text/yaml", b"f: 1.5")
    writer.add_metadata("vehicle", {"number": "7"})
    writer.finish()


def told(path):
    with path.open("rb") as file:
        reader = make_reader(file)
        found = [(m.log_time, m.publish_time, m.sequence, bytes(m.data)) for _, _, m in reader.iter_messages()]
        return found, [a.name for a in reader.iter_attachments()], [m.name for m in reader.iter_metadata()]


words = ["rosbags-convert", "--src", "source", "--dst", "made", "--dst-storage", "mcap"]
done = subprocess.run([*words, "--compress", "zstd", "--compress-mode", "storage"], capture_output=True, text=True, check=True)
[made] = pathlib.Path("made").glob("*.mcap")
before, after = told(source), told(made)
print(f"rosbags {version('rosbags')} said {done.stdout + done.stderr!r}")
for name, (found, attachments, metadata) in (("source", before), ("made", after)):
    print(f"{name}: {len(found)} messages; log time, publish time, sequence {found[0][:3]}; {attachments}, {metadata}")
same = [(m[0], m[3]) for m in before[0]] == [(m[0], m[3]) for m in after[0]]
lost = all(m[1:3] == (m[0], 0) for m in after[0]) and after[1] == [] and "vehicle" not in after[2]
whole = before[0][0][1:3] == (500, 10) and before[1:] == (["calibration.yaml"], ["vehicle"])
raise SystemExit(not (same and lost and whole and not done.stdout + done.stderr))
P

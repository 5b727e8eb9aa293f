/** How the page is built: relative addresses, hashed names, compressed beforehand. */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vitest/config";

const BUILT = "../hanseg_segmentation/api/web/built";
const ZARR_CODECS = /^numcodecs\/.*/;
const NOTHING = fileURLToPath(new URL("./src/viewer/no-codec.ts", import.meta.url));
const COMPRESSED = /\.(js|css|svg|wasm|json)$/;
const WORTH_BYTES = 1024;

/** Writes `.gz` and `.br` beside each asset, so that the API compresses nothing. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    writeBundle(options) {
      const folder = join(options.dir ?? BUILT, "assets");
      for (const name of readdirSync(folder)) {
        const content = readFileSync(join(folder, name));
        if (!COMPRESSED.test(name) || content.length < WORTH_BYTES) continue;
        const brotli = brotliCompressSync(content, {
          params: { [constants.BROTLI_PARAM_SIZE_HINT]: content.length },
        });
        writeFileSync(join(folder, `${name}.gz`), gzipSync(content, { level: 9 }));
        writeFileSync(join(folder, `${name}.br`), brotli);
      }
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [compressed()],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  resolve: { alias: [{ find: ZARR_CODECS, replacement: NOTHING }] },
  build: {
    outDir: BUILT,
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // a data: address would need a hole in the policy
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  test: {
    environment: "happy-dom",
    isolate: false,
    include: ["tests/**/*.test.{ts,tsx}"],
  },
});

/** What the page is built of may be given away, and what ships of it also changed. */

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

interface Package {
  license?: string;
  dev?: boolean;
  resolved?: string;
}

const lock = JSON.parse(readFileSync("package-lock.json", "utf8")) as {
  packages: Record<string, Package>;
};
const packages = Object.entries(lock.packages).filter(([name]) => name !== "");

const SHIPPED = new Set(["MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0"]);
const TOOLS = new Set([
  ...SHIPPED,
  "0BSD",
  "BlueOak-1.0.0",
  "CC0-1.0",
  "MIT OR Apache-2.0",
  "MPL-2.0",
  "Python-2.0",
]);

test.each(packages)("%s has a licence that allows it", (_, found) => {
  const allowed = found.dev ? TOOLS : SHIPPED;
  expect([...allowed]).toContain(found.license);
});

test("the lock file names no host", () => {
  expect(packages.filter(([, found]) => found.resolved)).toEqual([]);
});

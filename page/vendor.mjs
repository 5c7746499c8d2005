// Puts LiveKit's client where the page finds it, and beside it the licences of everything in it.
//
// Its own build for browsers is taken as it is: one minified file with all that it needs. A bundle made here of only what
// the page uses is 6 % smaller, which is not worth another tool.

import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";

const MODULES = new URL("node_modules/", import.meta.url);
const TARGET = new URL("../python/rtpcore/page/vendor/", import.meta.url);

/** What may be handed on with no more than its text beside it. */
const PERMISSIVE = new Set(["0BSD", "Apache-2.0", "(Apache-2.0 AND BSD-3-Clause)", "BSD-3-Clause", "ISC", "MIT"]);

/** Where the text is, in packages that have no file for it. */
const ELSEWHERE = { "@bufbuild/protobuf": "dist/esm/google/varint.js" };

async function client() {
  const script = await readFile(new URL("livekit-client/dist/livekit-client.umd.js", MODULES), "utf8");
  // The map is larger than the script and stays away; a browser would ask for it in vain.
  return script.replace(/\n\/\/# sourceMappingURL=.*\s*$/, "\n");
}

async function licences() {
  const { packages } = JSON.parse(await readFile(new URL("package-lock.json", import.meta.url), "utf8"));
  const names = Object.keys(packages).filter((path) => path && !packages[path].dev);
  const parts = await Promise.all(names.map((path) => licence(new URL(`${path}/`, import.meta.url))));
  return parts.join(`\n${"-".repeat(80)}\n\n`);
}

async function licence(folder) {
  const { name, version, license } = JSON.parse(await readFile(new URL("package.json", folder), "utf8"));
  if (!PERMISSIVE.has(license)) throw new Error(`${name} has the licence ${license}, which is not known here to be permissive`);
  const files = (await readdir(folder)).filter((file) => /^(licen[cs]e|notice|copyright)/i.test(file)).sort();
  const texts = await Promise.all(files.map((file) => readFile(new URL(file, folder), "utf8")));
  if (name in ELSEWHERE) texts.push(await comments(new URL(ELSEWHERE[name], folder)));
  if (texts.length === 0) throw new Error(`${name} comes without the text of its licence`);
  return [`${name} ${version}, ${license}\n`, ...texts.map((text) => `${text.trim()}\n`)].join("\n");
}

async function comments(file) {
  const lines = (await readFile(file, "utf8")).split("\n");
  return lines.slice(0, lines.findIndex((line) => !line.startsWith("//") && line)).map((line) => line.replace(/^\/\/ ?/, "")).join("\n");
}

await mkdir(TARGET, { recursive: true });
await writeFile(new URL("livekit-client.LICENSE.txt", TARGET), await licences());
await writeFile(new URL("livekit-client.js", TARGET), await client());

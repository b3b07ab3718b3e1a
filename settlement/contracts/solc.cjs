#!/usr/bin/env node
// What forge takes for a native solc: answers `--version` and passes `--standard-json` on to the npm
// package, which is the same compiler built for another machine. NODE_PATH says where it is.
const solc = require("solc");

if (process.argv.includes("--version")) {
  console.log("solc, the solidity compiler commandline interface");
  console.log(`Version: ${solc.version().replace(".Emscripten.clang", ".Linux.g++")}`);
} else {
  const input = require("fs").readFileSync(0, "utf8");
  process.stdout.write(solc.compile(input));
}

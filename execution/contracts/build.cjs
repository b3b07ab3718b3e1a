// Compiles the contracts beside this file into out/. scripts/contracts.sh runs it with the compiler that it
// needs, solc 0.8.37 from npm.
//
// Settings are fixed, so the same compiler gives the same bytes; `--check` fails if out/ differs.
const fs = require("fs");
const path = require("path");
const solc = require("solc");

if (!solc.version().startsWith("0.8.37+")) {
  console.error(`solc 0.8.37 wanted, ${solc.version()} found`);
  process.exit(2);
}

const names = ["Escrow", "Outbox", "Token", "Exchange"];
const sources = {};
for (const name of names) {
  sources[`${name}.sol`] = { content: fs.readFileSync(path.join(__dirname, `${name}.sol`), "utf8") };
}
const output = JSON.parse(
  solc.compile(
    JSON.stringify({
      language: "Solidity",
      sources,
      settings: {
        evmVersion: "osaka",
        optimizer: { enabled: true, runs: 1000 },
        metadata: { bytecodeHash: "none", appendCBOR: false },
        outputSelection: {
          "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "storageLayout"] },
        },
      },
    }),
  ),
);
for (const error of output.errors ?? []) console.error(error.formattedMessage);
if ((output.errors ?? []).some((error) => error.severity === "error")) process.exit(1);

const check = process.argv.includes("--check");
let stale = false;
function write(file, content) {
  const target = path.join(__dirname, "out", file);
  if (check) {
    if (!fs.existsSync(target) || fs.readFileSync(target, "utf8") !== content) {
      console.error(`${target} is stale`);
      stale = true;
    }
  } else {
    fs.mkdirSync(path.dirname(target), { recursive: true });
    fs.writeFileSync(target, content);
  }
}
for (const name of names) {
  const contract = output.contracts[`${name}.sol`][name];
  // Escrow and outbox are placed at genesis, so their runtime code counts; the others are deployed.
  if (name === "Escrow" || name === "Outbox") {
    write(`${name}.runtime.hex`, contract.evm.deployedBytecode.object);
  } else {
    write(`${name}.creation.hex`, contract.evm.bytecode.object);
  }
  write(`${name}.abi.json`, JSON.stringify(contract.abi, null, 1) + "\n");
}
process.exit(stale ? 1 : 0);

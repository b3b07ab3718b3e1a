// Compiles the settlement contracts into out/, one JSON per contract: ABI, creation code, runtime size.
// scripts/contracts.sh runs it with the compiler it needs.
//
// Settings are fixed, so the same compiler gives the same bytes; `--check` fails if out/ differs.
const fs = require("fs");
const path = require("path");
const solc = require("solc");

const VERSION = "0.8.37";
const CONTRACTS = [
  "StakeVault",
  "OperatorRegistry",
  "CommitteeRegistry",
  "ForcedQueue",
  "BatchInbox",
  "OutputOracle",
  "CommitteeVerifier",
  "Bridge",
  "Slasher",
  "PosterVerifier",
];
// EIP-170 and EIP-3860.
const MAX_RUNTIME_BYTES = 24_576;
const MAX_CREATION_BYTES = 49_152;

if (!solc.version().startsWith(`${VERSION}+`)) {
  console.error(`solc ${VERSION} wanted, ${solc.version()} found`);
  process.exit(2);
}

const root = path.join(__dirname, "src");
const sources = {};
for (const file of fs.readdirSync(root, { recursive: true }).sort()) {
  if (file.endsWith(".sol")) sources[`src/${file}`] = { content: fs.readFileSync(path.join(root, file), "utf8") };
}
const output = JSON.parse(
  solc.compile(
    JSON.stringify({
      language: "Solidity",
      sources,
      settings: {
        evmVersion: "osaka",
        viaIR: true,
        optimizer: { enabled: true, runs: 1000 },
        metadata: { bytecodeHash: "none", appendCBOR: false },
        outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
      },
    }),
  ),
);
for (const error of output.errors ?? []) console.error(error.formattedMessage);
if ((output.errors ?? []).length > 0) process.exit(1);

const check = process.argv.includes("--check");
let failed = false;
for (const name of CONTRACTS) {
  const source = `src/${name}.sol`;
  if (!sources[source]) {
    console.error(`${source} is missing`);
    failed = true;
    continue;
  }
  const { abi, evm } = output.contracts[source][name];
  const runtime = evm.deployedBytecode.object.length / 2;
  const creation = evm.bytecode.object.length / 2;
  if (runtime > MAX_RUNTIME_BYTES || creation > MAX_CREATION_BYTES) {
    console.error(`${name}: runtime ${runtime} bytes, creation ${creation} bytes: over the limit`);
    failed = true;
  }
  const artifact = { contractName: name, abi, bytecode: { object: `0x${evm.bytecode.object}` }, runtimeBytes: runtime };
  const text = JSON.stringify(artifact, null, 1) + "\n";
  const target = path.join(__dirname, "out", `${name}.json`);
  if (!check) {
    fs.mkdirSync(path.dirname(target), { recursive: true });
    fs.writeFileSync(target, text);
    console.log(`${name}: runtime ${runtime} bytes, creation ${creation} bytes`);
  } else if (!fs.existsSync(target) || fs.readFileSync(target, "utf8") !== text) {
    console.error(`${target} is stale`);
    failed = true;
  }
}
process.exit(failed ? 1 : 0);

// gas.cjs FORGE [--check]: measures whole transactions with forge and writes them to gas.md; `--check` fails
// if gas.md says something else.
const fs = require("fs");
const path = require("path");
const { spawnSync } = require("child_process");

// What the project wants at most, by the name of a measurement.
const WANTED = {
  equivocation: 105_000,
  "reordering, 4096 positions, batch of 64 heights": 135_000,
  "bad share: another point": 270_000,
  "wrong opening: message of 5 bytes": 300_000,
  "wrong opening: secret of another envelope": 300_000,
  "wrong opening: not the certified one": 300_000,
};

const [forge, ...flags] = process.argv.slice(2);
const run = spawnSync(forge, ["test", "--isolate", "--match-contract", "^Gas", "-vv", "--json"], {
  cwd: __dirname,
  encoding: "utf8",
  maxBuffer: 1 << 28,
});
const line = run.stdout.split("\n").find((text) => text.startsWith("{"));
if (!line) {
  console.error(run.stdout, run.stderr);
  process.exit(1);
}
const measured = new Map();
for (const suite of Object.values(JSON.parse(line))) {
  for (const [test, result] of Object.entries(suite.test_results)) {
    if (result.status !== "Success") {
      console.error(`${test}: ${result.reason}`);
      process.exit(1);
    }
    for (const log of result.decoded_logs) {
      const match = /^(.*): (\d+)/.exec(log);
      if (match) measured.set(match[1], Number(match[2]));
    }
  }
}

if (measured.size === 0) {
  console.error("forge measured nothing");
  process.exit(1);
}

const number = (value) => value.toLocaleString("en-US");
const isReport = (name) => /^(equivocation|double|reordering|broken|forged|wrong|bad)/.test(name);
const names = [...measured.keys()].sort();
const rows = (chosen) =>
  chosen.map((name) => {
    const wanted = WANTED[name] ? `≤ ${number(WANTED[name])}` : "";
    return `| ${name} | ${number(measured.get(name))} | ${wanted} |`;
  });
const text = `# Gas

Whole transactions: 21,000, calldata, execution with cold accounts and slots, less refunds. Measured by forge
(\`--isolate\`, Osaka rules) on the committed code; \`make contracts\` writes this file.

## Reports

The second step of a report, with everything in it: evidence, reward (a first one, unless it says otherwise),
stake. The first step is the commit below.

| transaction | gas | wanted |
|---|---:|---:|
${rows(names.filter(isReport)).join("\n")}

## Everything else

Forge's isolation sets the base fee to zero, so \`postBatch\` credits nothing here. On a chain it costs 2,800 more, and
19,900 more for the first batch of a poster.

| transaction | gas | wanted |
|---|---:|---:|
${rows(names.filter((name) => !isReport(name))).join("\n")}
`;

const target = path.join(__dirname, "gas.md");
for (const [name, limit] of Object.entries(WANTED)) {
  if (!(measured.get(name) <= limit)) console.error(`${name}: ${measured.get(name)} is over ${limit}`);
}
if (!flags.includes("--check")) {
  fs.writeFileSync(target, text);
} else if (!fs.existsSync(target) || fs.readFileSync(target, "utf8") !== text) {
  console.error(`${target} is stale`);
  process.exit(1);
}

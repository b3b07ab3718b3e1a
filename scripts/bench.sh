#!/usr/bin/env bash
# bench.sh: runs the benchmarks, then makes one table of them under target/bench/ of the checkout.
#
#   BENCH_FILTER   only benchmarks whose name this regular expression matches
#   QUICK          not empty: short measurements, to try things out
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/env.sh

export BLINDFOLD_BENCH_QUICK="${QUICK:-}"
out="$PWD/target/bench"
mkdir -p "$out"
# One table, one run: nothing is left of an earlier one.
rm -rf "$out/criterion"
export CRITERION_HOME="$out/criterion"

benches=(--bench opening --bench execution --bench root --bench settlement)
cargo bench --locked -p blindfold-bench "${benches[@]}" --no-run
load="$(cut -d' ' -f1-3 /proc/loadavg)"
begin=$SECONDS
cargo bench --locked -p blindfold-bench "${benches[@]}" -- ${BENCH_FILTER:+"$BENCH_FILTER"}
printf 'measured for %s s\n\n' "$((SECONDS - begin))"
cargo run --quiet --locked --release -p blindfold-bench -- table "$out" "$load"

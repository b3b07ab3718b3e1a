#!/usr/bin/env bash
# Builds and runs the fuzz targets; `make fuzz` calls it from the root of the checkout.
#
#   TIME=60        seconds for each target, or
#   RUNS=1000000   runs of each target instead
#   TARGETS="a b"  only these
#   SANITIZER=none or address (slower; for the crates below ours, which have unsafe code)
#   NICE=10        priority of the fuzzers
#
# Seeds come from a devnet that is run once (40 sealed transactions) and kept, with the corpus that grows
# from them, in $BLINDFOLD_CACHE/fuzz. A finding is kept there too, and the exit code is 1.
set -euo pipefail
. scripts/env.sh

TIME="${TIME:-60}" RUNS="${RUNS:-}" SANITIZER="${SANITIZER:-none}" NICE="${NICE:-10}"
HOME_DIR="$CACHE/fuzz"
BUILD="${FUZZ_TARGET_DIR:-$CACHE/fuzz-target}"
# Limits of every run: seconds, MiB of the whole process, bytes of an input.
RUN_SECONDS=10 RSS_MIB=2048 INPUT_BYTES=65536

case "$SANITIZER" in none | address) ;; *) stop "SANITIZER is none or address" ;; esac
if ! cargo fuzz --version >/dev/null 2>&1; then
  say "installing cargo-fuzz"
  cargo install --locked --quiet cargo-fuzz --version '^0.13' >&2
fi

# The fuzzers. Stable Rust has the instrumentation, and calls it unstable; hence the variable.
say "building the fuzzers into $BUILD (the first time about ten minutes on two cores)"
BUILD="$BUILD/$SANITIZER"
RUSTC_BOOTSTRAP=1 cargo fuzz build --fuzz-dir fuzz/libfuzzer --sanitizer "$SANITIZER" --target-dir "$BUILD" >"$CACHE/fuzz-build.log" 2>&1 || {
  tail -30 "$CACHE/fuzz-build.log" >&2
  stop "the fuzzers do not build"
}
host="$(rustc -vV | sed -n 's/^host: //p')"
binaries="$BUILD/$host/release"

# Seeds, made and from real traffic. Named by commit and not by date: formats change with the code.
cargo build --quiet --locked -p blindfold-fuzz -p blindfold-node --bins
seeds="$HOME_DIR/seeds-$(git rev-parse --short HEAD 2>/dev/null || echo none)"
if [ ! -d "$seeds" ]; then
  say "running a devnet for seeds"
  net="$(mktemp -d)"
  trap 'rm -rf "$net"' EXIT
  "$CARGO_TARGET_DIR/debug/blindfold" devnet --transactions 40 --exit --no-gateway --data-dir "$net/devnet" >"$net/devnet.log" 2>&1 || {
    tail -20 "$net/devnet.log" >&2
    stop "the devnet failed"
  }
  for member in 0 1 2 3; do
    "$CARGO_TARGET_DIR/debug/blindfold" inspect rows --config "$net/devnet/member-$member/node.toml" --out "$net/rows" >&2
  done
  "$CARGO_TARGET_DIR/debug/blindfold-fuzz" seeds "$net/seeds" "$net/rows" "$net/devnet" >&2
  mkdir -p "$HOME_DIR"
  rm -rf "$seeds"
  mv "$net/seeds" "$seeds"
fi

failed=""
printf '%-22s %10s %9s %9s %7s %7s  %s\n' target runs exec/s seconds corpus 'rss MiB' findings
for target in ${TARGETS:-$("$CARGO_TARGET_DIR/debug/blindfold-fuzz" list)}; do
  corpus="$HOME_DIR/corpus/$target" found="$HOME_DIR/findings/$target" log="$HOME_DIR/$target.log"
  mkdir -p "$corpus" "$found" "$seeds/$target"
  past=()
  [ -d "fuzz/regressions/$target" ] && past=("fuzz/regressions/$target")
  limit=(-max_total_time="$TIME")
  [ -n "$RUNS" ] && limit=(-runs="$RUNS")
  begun="$(date +%s)" status=0
  nice -n "$NICE" "$binaries/$target" "${limit[@]}" -timeout="$RUN_SECONDS" -rss_limit_mb="$RSS_MIB" \
    -max_len="$INPUT_BYTES" -print_final_stats=1 -verbosity=1 -artifact_prefix="$found/" \
    "$corpus" "$seeds/$target" ${past[@]+"${past[@]}"} >"$log" 2>&1 || status=$?
  stat() { sed -n "s/^stat::$1: *//p" "$log"; }
  seconds=$(($(date +%s) - begun)) runs="$(stat number_of_executed_units)" finding=0
  [ "$status" = 0 ] || finding=1
  printf '%-22s %10s %9s %9s %7s %7s  %s\n' "$target" "${runs:-?}" "$((${runs:-0} / (seconds > 0 ? seconds : 1)))" \
    "$seconds" "$(find "$corpus" -type f | wc -l)" "$(stat peak_rss_mb)" "$finding"
  if [ "$finding" = 1 ]; then
    failed="$failed $target"
    say "$target: see $log; the input is the newest file in $found"
  fi
done
[ -z "$failed" ] || stop "findings in:$failed"

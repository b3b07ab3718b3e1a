#!/usr/bin/env bash
# ci.sh TARGET.. : runs make targets one after the other, then prints how long each took and, last,
# what the test runner concluded. Stops at the first failure with a non-zero status.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
log="$(mktemp)"
trap 'rm -f "$log"' EXIT

# Set-up is timed on its own: on a fresh machine it compiles RocksDB.
times=()
begin=$SECONDS
(. scripts/env.sh)
# Anvil comes from npm with the contracts' tools. Tests skip it where it is missing, but not here.
bash scripts/contracts.sh install >/dev/null
export BLINDFOLD_REQUIRE_ANVIL=1
times+=("set-up $((SECONDS - begin))")

for target in "$@"; do
  printf '==> %s\n' "$target"
  begin=$SECONDS
  status=0
  make "$target" 2>&1 | tee "$log" || status=$?
  times+=("$target $((SECONDS - begin))")
  if [ "$status" != 0 ]; then
    printf '==> %s FAILED after %s s\n' "$target" "$((SECONDS - begin))" >&2
    exit "$status"
  fi
done

printf '\n==> time\n'
for entry in "${times[@]}"; do printf '  %-15s %5d s\n' "${entry% *}" "${entry##* }"; done
printf '  %-15s %5d s\n' total "$SECONDS"

# The last stage's log is the tests': repeat the runner's verdict as the last lines.
printf '\n==> result\n'
sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -E '^ *Summary \[|^test result:' | tail -n 20 || true

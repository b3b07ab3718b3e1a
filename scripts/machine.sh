#!/usr/bin/env bash
# Runs the tests that need something of the machine: `scripts/machine.sh [part of a test's name]`.
#
# Each test runs in mount and network namespaces of its own, so that nothing of this machine is changed and
# nothing is left behind. Where something is missing it prints `NOT RUN: reason`. The last line counts.
# Exit code: 0 all ran and passed, 1 one failed, 77 none failed and some did not run.
set -euo pipefail
. "$(dirname "$0")/env.sh"

# Name of the test, and what it needs.
TESTS=(
  "clock::a_clock_ahead_by_minutes_costs_the_member_its_views cc"
  "clock::a_clock_behind_by_minutes_harms_nobody cc"
  "disk::a_full_disk_stops_the_member_and_loses_nothing mount"
  "netns::halves_stop_and_go_on_when_they_meet netns"
  "netns::three_go_on_without_one_that_is_cut_off netns"
  "netns::slow_and_lossy_links_slow_the_network_down_and_no_more netns netem"
)
WANTED=${1:-}
PRIVATE=(unshare --mount --net --propagation private)

# Prints why the machine lacks $1; nothing if it has it.
missing() {
  case $1 in
    cc)
      command -v cc >/dev/null || echo "no C compiler (cc)"
      ;;
    mount)
      [ "$(id -u)" = 0 ] || { echo "not root, cannot mount a small disk"; return; }
      "${PRIVATE[@]}" mount -t tmpfs none /mnt 2>/dev/null || echo "mounting a tmpfs is refused"
      ;;
    netns)
      [ "$(id -u)" = 0 ] || { echo "not root, cannot make network namespaces"; return; }
      command -v ip >/dev/null || { echo "no ip command (iproute2)"; return; }
      in_private "ip netns add probe && ip link add probe type bridge \
        && ip link add w type veth peer name wire netns probe" >/dev/null 2>&1 \
        || echo "the kernel refuses network namespaces, bridges or veth pairs"
      ;;
    netem)
      command -v tc >/dev/null || { echo "no tc command (iproute2)"; return; }
      in_private "tc qdisc add dev lo root netem delay 1ms" >/dev/null 2>&1 \
        || echo "the kernel has no netem queueing discipline (sch_netem)"
      ;;
  esac
}

# Runs a shell command where `ip netns` sees none of the machine's namespaces and every link is our own.
in_private() {
  "${PRIVATE[@]}" bash -c "mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip link set lo up && $1"
}

if ! command -v ip >/dev/null && have_apt; then apt_install iproute2 || true; fi

# The binary is asked for by name, because nothing can be fetched where it will run.
cargo test --locked --quiet -p blindfold-node --test it --no-run
binary=$(cargo test --locked -p blindfold-node --test it --no-run --message-format=json 2>/dev/null \
  | sed -n 's/.*"executable":"\([^"]*\/it-[^"]*\)".*/\1/p' | tail -1)
export BLINDFOLD_MACHINE_PREPARED=1

passed=0 failed=0 not_run=0
for entry in "${TESTS[@]}"; do
  read -r name needs <<<"$entry"
  [[ $name == *"$WANTED"* ]] || continue
  reason=
  for need in $needs; do
    reason=$(missing "$need")
    [ -z "$reason" ] || break
  done
  if [ -n "$reason" ]; then
    echo "NOT RUN: $name: $reason"
    not_run=$((not_run + 1))
    continue
  fi
  run="cd node && exec '$binary' --exact 'machine::$name' --ignored --nocapture"
  if [ "$(id -u)" = 0 ] && command -v ip >/dev/null; then
    outcome=0; in_private "$run" || outcome=$?
  else
    outcome=0; bash -c "$run" || outcome=$?
  fi
  if [ "$outcome" = 0 ]; then
    echo "PASSED: $name"
    passed=$((passed + 1))
  else
    echo "FAILED: $name"
    failed=$((failed + 1))
  fi
done
echo "machine tests: $passed passed, $failed failed, $not_run not run"
[ "$failed" = 0 ] || exit 1
[ "$not_run" = 0 ] || exit 77

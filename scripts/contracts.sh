#!/usr/bin/env bash
# contracts.sh WHAT [ARG..]: the Solidity tool chain, in pinned versions from npm, kept outside the checkout.
#
#   install          only put it there (and print where)
#   build [--check]  recompile both sets of contracts into their out/ folders, or only compare
#   test [ARG..]     forge's tests of settlement/contracts; arguments go to `forge test`
#   gas [--check]    measure again what settlement/contracts/gas.md says, or only compare
#
# BLINDFOLD_CACHE says where things are kept (default: $XDG_CACHE_HOME/blindfold, ~/.cache/blindfold).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cache="${BLINDFOLD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/blindfold}"
packages="@foundry-rs/forge@1.7.1 @foundry-rs/anvil@1.7.1 solc@0.8.37"
tools="$cache/contracts-forge1.7.1-anvil1.7.1-solc0.8.37"

say() { printf 'setup: %s\n' "$*" >&2; }
stop() { say "$*"; exit 1; }

# Node and npm, by apt where this user may.
need_node() {
  command -v node >/dev/null && command -v npm >/dev/null && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing nodejs npm"
    if ! apt-get install -s -qq nodejs npm >/dev/null 2>&1; then apt-get update -qq >&2; fi
    DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes apt-get install -y -qq --no-install-recommends nodejs npm \
      >/dev/null </dev/null
  else
    stop "please install Node 18 or later with npm (this user cannot run apt-get)"
  fi
}

need_tools() {
  need_node
  [ -f "$tools/complete" ] && return 0
  mkdir -p "$cache"
  (
    exec 9>"$cache/contracts.lock"
    command -v flock >/dev/null && flock 9 # someone else may be installing it already
    [ -f "$tools/complete" ] && exit 0
    say "installing $packages from npm into $tools"
    # shellcheck disable=SC2086
    npm install --silent --no-save --no-audit --no-fund --prefix "$tools" $packages >&2
    touch "$tools/complete"
  )
}

forge() {
  local binary
  binary="$(find "$tools/node_modules/@foundry-rs" -path '*/bin/forge' -type f -print -quit)"
  [ -n "$binary" ] || stop "npm has no forge for this machine"
  (cd settlement/contracts && "$binary" "$@")
}

what="${1:-}"
[ "$#" = 0 ] || shift
need_tools
export NODE_PATH="$tools/node_modules"

case "$what" in
  install) printf '%s\n' "$tools" ;;
  build)
    node execution/contracts/build.cjs "$@"
    node settlement/contracts/build.cjs "$@"
    ;;
  test) forge test "$@" ;;
  gas) node settlement/contracts/gas.cjs "$(find "$tools/node_modules/@foundry-rs" -path '*/bin/forge' -type f -print -quit)" "$@" ;;
  *) stop "contracts.sh install|build|test|gas" ;;
esac

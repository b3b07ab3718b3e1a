#!/usr/bin/env bash
# Installs the wallets that the gateway is tested with (npm; versions in node/tests/clients/package.json)
# into the cache, and prints the folder. Idempotent, safe to run twice at once.
set -euo pipefail

exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/../node/tests/clients"
CACHE="${BLINDFOLD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/blindfold}"
say() { printf 'setup: %s\n' "$*" >&2; }

if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing nodejs npm"
    apt-get install -s -qq nodejs npm >/dev/null 2>&1 || apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null
  else
    say "please install Node 20 or later with npm"
    exit 1
  fi
fi
major="$(node --version | sed 's/^v\([0-9]*\).*/\1/')"
[ "$major" -ge 18 ] || { say "Node $major is too old; 20 is tested"; exit 1; }

hash="$(cat package.json package-lock.json | sha256sum | cut -c1-12)"
folder="$CACHE/clients-$hash"
if [ ! -f "$folder/ready" ]; then
  mkdir -p "$CACHE"
  (
    exec 9>"$CACHE/clients.lock"
    if command -v flock >/dev/null; then flock 9; fi
    [ -f "$folder/ready" ] && exit 0
    say "installing cast, viem and ethers from npm into $folder"
    rm -rf "$folder"
    mkdir -p "$folder"
    cp package.json package-lock.json "$folder"
    # The lock file names the packages of every platform only on some; `npm ci` then refuses it.
    npm install --prefix "$folder" --ignore-scripts --no-audit --no-fund --silent >&2
    touch "$folder/ready"
  )
fi
printf '%s\n' "$folder"

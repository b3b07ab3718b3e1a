# Sourced by the Makefile's recipes: puts onto this machine what the build lacks, and says so.
# Idempotent. Everything it keeps lives outside the checkout, so a fresh clone builds fast.

CACHE="${BLINDFOLD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/blindfold}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$CACHE/target}"

say() { printf 'setup: %s\n' "$*" >&2; }

# libclang, for the bindings of RocksDB. (libclang-cpp.so is another library; do not match it.)
have_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] && return 0
  compgen -G '/usr/lib/*-linux-gnu/libclang-[0-9]*.so*' >/dev/null || compgen -G '/usr/lib/llvm-*/lib/libclang.so*' >/dev/null
}
if ! have_libclang; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    pkg="$(apt-cache pkgnames libclang1- 2>/dev/null | grep -E '^libclang1-[0-9]+$' | sort -V | tail -1 || true)"
    if [ -z "$pkg" ]; then
      say "apt-get update"
      apt-get update -qq
      pkg="$(apt-cache pkgnames libclang1- | grep -E '^libclang1-[0-9]+$' | sort -V | tail -1)"
    fi
    say "installing $pkg (RocksDB's bindings need it)"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$pkg" >/dev/null
  else
    say "installing the PyPI wheel libclang 18.1.1 into $CACHE/py (not root, so no apt)"
    python3 -m pip install -q --target "$CACHE/py" libclang==18.1.1
    export LIBCLANG_PATH="$CACHE/py/clang/native"
  fi
fi
# gcc's stdbool.h and friends stand in for clang's own headers, so that no clang package is needed.
export BINDGEN_EXTRA_CLANG_ARGS="${BINDGEN_EXTRA_CLANG_ARGS:--I$(gcc -print-file-name=include)}"

# RocksDB's C++ is 70 % of a cold build: compile it once per machine and version, for all profiles.
rocksdb_version="$(sed -n '/^name = "librocksdb-sys"/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)"
rocksdb_lib="$CACHE/rocksdb-$rocksdb_version"
if [ ! -f "$rocksdb_lib/librocksdb.a" ]; then
  say "compiling RocksDB $rocksdb_version once for this machine (about ten minutes on two cores)"
  cargo build --quiet --locked --release -p librocksdb-sys --target-dir "$CACHE/rocksdb-build" >&2
  mkdir -p "$rocksdb_lib"
  cp "$(ls -t "$CACHE"/rocksdb-build/release/build/librocksdb-sys-*/out/librocksdb.a | head -1)" "$rocksdb_lib/.new.$$"
  mv "$rocksdb_lib/.new.$$" "$rocksdb_lib/librocksdb.a"
  rm -rf "$CACHE/rocksdb-build"
fi
export ROCKSDB_LIB_DIR="$rocksdb_lib" ROCKSDB_STATIC=1

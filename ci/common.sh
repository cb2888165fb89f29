# Shared by the scripts in this folder; source it, do not run it.
#
# Everything fetched or built goes below $CROSS, a folder of its own in cargo's target directory, so that
# `cargo clean` removes it and ordinary builds are not disturbed. Two system-wide things can happen, both
# announced: `apt-get install` of missing tools (root only), `rustup target add`.
#
# CI_INSTALL=0       never installs a system package, only names what is missing
# CROSS_STD=rustup   takes the cross-compiled std from rustup only; CROSS_STD=debian from Debian's packages only
# CARGO_TARGET_DIR   respected

# Every script prints the comment at its head for -h and --help.
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit
fi

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target}
[[ $TARGET_DIR == /* ]] || TARGET_DIR=$PWD/$TARGET_DIR
CROSS=$TARGET_DIR/cross
LOGS=$CROSS/logs
mkdir -p "$LOGS"
ulimit -c 0 # a test that dies in qemu would leave its core dump between the sources

say() { printf '\n== %s\n' "$*" >&2; }
die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# Debian's is too old, so `need` can't help.
command -v cargo >/dev/null || die "cargo is missing: install Rust (https://rustup.rs)"

# skip WHY: what cannot be had here is no failure, but is said.
skip() {
  echo "skipped: $*"
  exit 0
}

# logged NAME COMMAND...: quiet while it works, the end of its log when it does not.
logged() {
  local log=$LOGS/$1.log
  shift
  "$@" >"$log" 2>&1 && return
  # shellcheck disable=SC2016 # no command
  printf '%s: `%s` failed; the end of %s:\n' "${0##*/}" "$*" "$log" >&2
  tail -n 8 "$log" >&2
  return 1
}

# need PROGRAM_OR_FILE:PACKAGE...: makes sure each is there, from Debian's packages if this is root.
need() {
  local pair missing=()
  for pair; do
    if [[ $pair == /* ]]; then [[ -e ${pair%%:*} ]]; else command -v "${pair%%:*}" >/dev/null; fi ||
      missing+=("${pair#*:}")
  done
  ((${#missing[@]})) || return 0
  if [[ ${CI_INSTALL:-1} != 0 && $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    say "installing ${missing[*]}"
    # Somebody else's apt may hold the lock. Stale lists name versions the mirrors no longer have.
    local apt=(apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Languages=none)
    logged apt-update "${apt[@]}" update || true
    if DEBIAN_FRONTEND=noninteractive logged apt-install \
      "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; then return 0; fi
  fi
  die "missing: ${missing[*]}. On Debian, as root: apt-get install --no-install-recommends ${missing[*]}"
}

# has_std TRIPLE: does the rustc that cargo would use have a std for it?
has_std() {
  compgen -G "$("${RUSTC:-rustc}" --print target-libdir --target "$1")/libstd-*.rlib" >/dev/null
}

# get_std TRIPLE DEBIAN_ARCH: makes has_std true, setting RUSTC and RUSTDOC if need be.
# Returns 1 where no std can be had.
get_std() {
  local triple=$1 arch=$2 how=${CROSS_STD:-any}
  if [[ $how != debian ]]; then
    has_std "$triple" && return
    if command -v rustup >/dev/null; then
      say "rustup target add $triple"
      # One attempt, bounded: without a network this must give way to the packages, not hang.
      RUST_BACKTRACE=0 RUSTUP_MAX_RETRIES=0 logged rustup timeout 180 rustup target add "$triple" &&
        has_std "$triple" && return
    fi
  fi
  [[ $how != rustup ]] && debian_std "$triple" "$arch"
}

# private_apt HOME LINE...: empties HOME and writes HOME/apt.conf, by which apt has lists and caches of its own there;
# LINEs are more of it. Packages are to be downloaded to HOME/debs.
private_apt() {
  rm -rf "$1"
  mkdir -p "$1"/{lists,cache/archives}/partial "$1"/{debs,root}
  cat >"$1/apt.conf" <<END
Dir::State::Lists "$1/lists";
Dir::Cache "$1/cache";
APT::Architecture "$(dpkg --print-architecture)";
APT::Sandbox::User ""; // the user _apt may not enter this folder
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
END
  printf '%s\n' "${@:2}" >>"$1/apt.conf"
}

# unpack HOME: unpacks what was downloaded to HOME/root, and leaves nothing else of it.
unpack() {
  local deb
  for deb in "$1"/debs/*.deb; do dpkg -x "$deb" "$1/root"; done
  rm -rf "$1"/{debs,cache,lists}
}

# debian_std TRIPLE DEBIAN_ARCH: a rustc for this machine plus the std of another, from Debian's packages
# (`rustc-web`, the recent compiler Debian keeps for its browsers), unpacked and not installed.
# The system's apt does not learn about the foreign architecture.
debian_std() {
  local triple=$1 arch=$2 home=$CROSS/debian-$2 wanted version minor host
  wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$ROOT/Cargo.toml")
  if [[ ! -e $home/done ]]; then
    if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
      echo "no rustup target $triple, and this is not Debian" >&2
      return 1
    fi
    say "fetching Debian's rustc and its std for $arch"
    host=$(dpkg --print-architecture)
    local -x APT_CONFIG=$home/apt.conf
    private_apt "$home" "APT::Architectures { \"$host\"; \"$arch\"; };"
    # A list that failed (a mirror in the middle of a sync) may be one we do not need: what follows decides.
    logged apt-update-private apt-get update || true

    # Both halves must be of one version, and some architectures lag behind: theirs decides.
    version=$(apt-cache policy "libstd-rust-web-dev:$arch" | awk '/Candidate:/ { print $2 }')
    if [[ ${version:-(none)} == "(none)" ]]; then
      echo "no libstd-rust-web-dev:$arch in this machine's package lists; Debian 12 has it, for amd64 and arm64" >&2
      return 1
    fi
    if [[ $(printf '%s\n' "$wanted" "$version" | sort -V | head -n 1) != "$wanted" ]]; then
      echo "libstd-rust-web-dev:$arch is $version, the workspace wants rustc $wanted;" \
        "is Debian's security archive enabled?" >&2
      return 1
    fi
    minor=$(cut -d. -f1,2 <<<"$version")
    # The shared libraries of rustc (LLVM) this machine lacks: what apt would install with it.
    local debs=("rustc-web=$version" "libstd-rust-web-$minor=$version" "libstd-rust-web-dev=$version"
      "libstd-rust-web-dev:$arch=$version")
    logged apt-simulate apt-get --simulate --no-install-recommends install "rustc-web=$version" || return 1
    mapfile -t -O ${#debs[@]} debs < <(awk '/^Inst / && $2 !~ /rust/ { print $2 }' "$LOGS/apt-simulate.log")
    (cd "$home/debs" && logged apt-download apt-get download "${debs[@]}") || return 1
    unpack "$home"

    # The libraries are not where the loader looks, and the compiler finds std relative to itself.
    local tool
    for tool in rustc rustdoc; do
      cat >"$home/$tool" <<'END'
#!/bin/sh
root=$(dirname "$0")/root/usr
for dir in "$root"/lib/*-linux-gnu "$root"/lib/llvm-*/lib; do
  [ -d "$dir" ] && LD_LIBRARY_PATH=$dir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH
END
      echo "exec \"\$root/bin/$tool\" \"\$@\"" >>"$home/$tool"
      chmod +x "$home/$tool"
    done
    logged debian-rustc "$home/rustc" -vV || return 1
    touch "$home/done"
  fi
  export RUSTC=$home/rustc RUSTDOC=$home/rustdoc
  has_std "$triple"
}

# cross_env TRIPLE GNU_TRIPLE QEMU: points cargo at the linker, at the emulator and at a target directory of its own.
cross_env() {
  local var=${1//-/_}
  export "CARGO_TARGET_${var^^}_LINKER=$2-gcc" "CARGO_TARGET_${var^^}_RUNNER=$3 -L /usr/$2"
  export CARGO_TARGET_DIR=$CROSS
  # Flags meant for this machine (target-cpu=native) are wrong for another.
  unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS
}

# test_binaries: builds the release tests of `kernels` for this machine and prints their paths.
test_binaries() {
  local messages=$LOGS/test-binaries.json
  (cd "$ROOT" && cargo test -p kernels --release --no-run --message-format=json) >"$messages" ||
    die "the tests do not build"
  grep '"profile":{[^}]*"test":true}' "$messages" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'
}

# tests_named NAME...: a name that no test of `kernels` has any more would run nothing, and be content.
tests_named() {
  local name
  for name; do
    grep -rqE "fn [a-z0-9_]*$name" "$ROOT/kernels/src" "$ROOT/kernels/tests" || die "no test of kernels is named $name"
  done
}

# Left out under emulation: nothing in it depends on the row, and its many calls would take most of the time.
# shellcheck disable=SC2034 # by the scripts
SLOW=calls_allocate_nothing_once_warm
# These emulate the tile unit by a handler of SIGILL, whatever the CPU.
# shellcheck disable=SC2034
TILE_UNIT=gemm::amx

# cross_fingerprint TRIPLE: builds the program for TRIPLE and compares its fingerprint, after cross_env.
cross_fingerprint() {
  (cd "$ROOT" && cargo run --quiet --release --locked -p harness --target "$1" -- \
    fingerprint --check docs/fingerprint.txt | tail -n 1)
}

#!/usr/bin/env bash
# Makes this machine ready to build Lapidary, or with the argument `test` to test it as well: on Debian 12
# it installs what is missing, elsewhere it says what is missing. Where everything is there, however it
# came, it does nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# ca-certificates is for cargo's downloads, the rest is what LLVM's static libraries are linked with.
packages=(make g++ llvm-22-dev libpolly-22-dev libzstd-dev zlib1g-dev ca-certificates)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
log=$scratch/apt.log

say() { echo "setup: $1"; }

# fail EXIT_CODE LINE: 2 for what the caller can mend, 1 otherwise.
fail() {
    say "$2" >&2
    exit "$1"
}

# setting KEY FILE: the value of a TOML line KEY = "value".
setting() { sed -n "s/^$1 = \"\(.*\)\"\$/\1/p" "$2"; }

check_rust() {
    local need have
    need=$(setting rust-version Cargo.toml)
    command -v cargo >/dev/null ||
        fail 2 "cargo is not on PATH: install Rust $need or later with rustup (https://rustup.rs) and open a new shell"
    have=$(rustc --version | cut -d ' ' -f 2) ||
        fail 2 "rustc does not run: install Rust $need or later with 'rustup default stable'"
    printf '%s\n' "$need" "$have" | sort --version-sort --check=quiet ||
        fail 2 "Rust $have is too old: Lapidary needs $need or later; run 'rustup update'"
}

# Prints the first thing that is missing, nothing when the machine is ready. Looks at what the build
# uses, not at packages; only a link shows that the system libraries LLVM asks for are there.
missing() {
    local config=$llvm/bin/llvm-config program libraries library system
    for program in make cc; do
        command -v "$program" >/dev/null || { echo "$program"; return; }
    done
    [[ $("$config" --version 2>/dev/null) == 22.* ]] || { echo "LLVM 22 in $llvm"; return; }
    libraries=$("$config" --link-static --libfiles 2>/dev/null) ||
        { echo "LLVM's static libraries in $llvm"; return; }
    for library in $libraries; do
        [ -e "$library" ] || { echo "$library"; return; }
    done
    read -ra system < <("$config" --link-static --system-libs)
    echo 'int main(void) { return 0; }' |
        cc -x c - -x none "${system[@]}" -lstdc++ -o "$scratch/linked" 2>/dev/null ||
        { echo "a library of: ${system[*]} -lstdc++"; return; }
    [[ " ${packages[*]} " != *" chromium "* ]] || command -v chromium >/dev/null || echo chromium
}

# Ends well where only the browser is missing: one test alone needs it, and says that it is skipped.
go_on_without_browser() {
    [ "$lacking" = chromium ] || return 0
    say "chromium is missing: the page of explain is not tested"
    exit 0
}

# "debian 12" on Debian 12.
system_name() {
    if [ -r /etc/os-release ]; then
        # shellcheck source=/dev/null
        (. /etc/os-release && echo "${ID:-unknown} ${VERSION_ID:-}")
    else
        uname -s
    fi
}

# apt-get without questions, its lines in the log; how much there is to fetch is shown.
apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C \
        apt-get --quiet --yes -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" 2>&1 |
        tee "$log" |
        sed --unbuffered --quiet 's/^\(Need to get\|After this operation\|Fetched\)/setup:   &/p'
}

first_error() { grep --max-count=1 '^E:' "$log"; }

# Packages already there are neither upgraded nor removed.
install() { apt install --no-install-recommends --no-upgrade --no-remove "${packages[@]}"; }

case "$*" in
    "") ;;
    test) packages+=(chromium) ;;
    *) fail 2 "takes no argument but test, got: $*" ;;
esac
check_rust
llvm=${LLVM_SYS_221_PREFIX:-$(setting LLVM_SYS_221_PREFIX .cargo/config.toml)}
lacking=$(missing)
[ -n "$lacking" ] || exit 0

host=$(system_name)
if [ "$host" != "debian 12" ] || ! command -v apt-get >/dev/null; then
    go_on_without_browser
    fail 2 "missing: $lacking. Only Debian 12 with apt-get is set up from here, and this is $host: install make, a C++ compiler, zlib, zstd and LLVM 22 with Polly and its static libraries, in $llvm or where LLVM_SYS_221_PREFIX says"
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null || ! sudo true; then
        go_on_without_browser
        fail 2 "missing: $lacking. Installing it needs root, and sudo does not give it; as root, run: apt-get install --no-install-recommends ${packages[*]}"
    fi
    as_root=(sudo)
fi

say "missing: $lacking; installing ${packages[*]}"
if ! install; then
    say "reading Debian's package lists anew"
    apt update || { go_on_without_browser; fail 1 "apt-get update failed: $(first_error)"; }
    install || { go_on_without_browser; fail 1 "apt-get install failed, from bookworm and bookworm-security: $(first_error)"; }
fi

lacking=$(missing)
[ -z "$lacking" ] || fail 1 "installed ${packages[*]}, and still missing: $lacking"
say "done in $SECONDS s"

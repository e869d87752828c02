# Finds the Swift toolchain, for the bash scripts that call it; to be sourced. `need_toolchain NAME` leaves PATH as it
# is where its swift is new enough, and else puts the toolchain of scripts/install-swift before it.
# The versions are written down here alone.
# shellcheck shell=bash

toolchain_minimum="6.3"    # swift-tools-version of Package.swift
toolchain_release="6.3.1"  # the toolchain that is tested, and installed where there is none

# Prints where scripts/install-swift puts the toolchain. The XDG specification says that relative paths are ignored.
toolchain_directory() {
  local data="${XDG_DATA_HOME:-}"
  [[ "$data" == /* ]] || data=~/.local/share
  echo "$data/trestle/swift-$toolchain_release"
}

# Prints the version of a swift; nothing if it does not tell.
swift_version() {
  { "$1" --version 2>/dev/null || true; } | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' | head -n 1
}

# Whether a swift tells its version, and is new enough.
is_new_enough() {
  local found
  found="$(swift_version "$1")"
  [[ -n "$found" && "$(printf '%s\n%s\n' "$toolchain_minimum" "$found" | sort -V | head -n 1)" == "$toolchain_minimum" ]]
}

# Lets `swift` be a toolchain that is new enough; the status tells whether there is one.
find_toolchain() {
  local own
  if command -v swift >/dev/null && is_new_enough swift; then
    return
  fi
  own="$(toolchain_directory)/usr/bin"
  if ! is_new_enough "$own/swift"; then
    return 1
  fi
  export PATH="$own:$PATH"
}

# The same for a script of this name, which ends if there is none.
need_toolchain() {
  if ! find_toolchain; then
    echo "$1: there is no Swift $toolchain_minimum or newer here; scripts/setup installs it" >&2
    exit 1
  fi
}

#!/bin/sh
# Builds all tests apart, with sanitizers in Swift and C, and runs them: memory and undefined behaviour, or races.
#
#     Robustness/sanitize.sh [address] [thread]      # address alone without a name
#
# `thread` reports what Synchronization's Mutex guards: that library's locks are not instrumented (Swift 6.3, Linux).
set -eu
cd "$(dirname "$0")/.."
for kind in ${*:-address}; do
  case $kind in
    # Undefined behaviour is C's: Swift traps on its own.
    address) more="-Xcc -fsanitize=undefined -Xcc -fno-sanitize-recover=undefined" ;;
    thread) more= ;;
    *) echo "sanitize.sh: address or thread, not '$kind'" >&2; exit 64 ;;
  esac
  echo "sanitize: $kind"
  # Leaks are not looked for: those there are belong to XCTest, x265, and libavformat where writing a file fails.
  # shellcheck disable=SC2086
  ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS=halt_on_error=1 \
    swift test -c release --sanitize=$kind --scratch-path ".build/$kind" $more
done

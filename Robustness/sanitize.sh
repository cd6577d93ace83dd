#!/bin/sh
# Builds all tests apart, with sanitizers in Swift and C, and runs them: memory and undefined behaviour, or races.
#
#     Robustness/sanitize.sh [address] [thread]      # address alone without a name
#
# `thread` preloads mutex_order.c on Linux, without which all that a contended Mutex guards is reported.
set -eu
cd "$(dirname "$0")/.."
for kind in ${*:-address}; do
  preload=
  case $kind in
    # Undefined behaviour is C's: Swift traps on its own.
    address) more="-Xcc -fsanitize=undefined -Xcc -fno-sanitize-recover=undefined" ;;
    thread)
      more=
      [ "$(uname -s)" != Linux ] || {
        preload=$PWD/.build/mutex_order.so
        mkdir -p .build
        clang -O2 -Wall -Wextra -Werror -shared -fPIC -o "$preload" Robustness/mutex_order.c
      } ;;
    *) echo "sanitize.sh: address or thread, not '$kind'" >&2; exit 64 ;;
  esac
  echo "sanitize: $kind"
  # Leaks are not looked for: those there are belong to XCTest, x265, and libavformat where writing a file fails.
  # shellcheck disable=SC2086
  LD_PRELOAD=$preload ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS=halt_on_error=1 \
    swift test -c release --sanitize=$kind --scratch-path ".build/$kind" $more
done

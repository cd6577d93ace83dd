#!/bin/sh
# Builds the fuzz targets apart from the package, and runs each on its seeds for FUZZ_SECONDS (10) or FUZZ_RUNS (10
# million) inputs, whichever ends first; FUZZ_JOBS (1) of them at a time.
#
#     Fuzz/fuzz.sh [TARGET...]       every target without a name
#
# A crash, a hang over a second or memory over 2 GiB ends a target; the input then lies in .build/fuzz/found.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/.build/fuzz
seconds=${FUZZ_SECONDS:-10}

# The package with one more target: links to its folders beside a longer manifest.
mkdir -p "$build/found" "$build/corpora"
cat "$root/Package.swift" "$root/Fuzz/Package+Fuzz.swift" > "$build/Package.swift.new"
cmp -s "$build/Package.swift.new" "$build/Package.swift" || cp "$build/Package.swift.new" "$build/Package.swift"
[ ! -f "$root/Package.resolved" ] || cp "$root/Package.resolved" "$build/"
for folder in Sources Tests Fuzz; do ln -sfn "$root/$folder" "$build/$folder"; done
swift build --package-path "$build" -c release --product fuzz \
  -Xswiftc -sanitize=fuzzer -Xswiftc -enable-testing -Xcc -fsanitize=fuzzer-no-link | grep -E "error|Build" || true
fuzz=$build/.build/release/fuzz

export TESSERA_FIXTURES="$root/Tests/PipelineTests/Fixtures" SWIFT_BACKTRACE=enable=no
export root build seconds fuzz
printf '%s\n' ${*:-$("$fuzz" list)} | xargs -n 1 -P "${FUZZ_JOBS:-1}" sh -euc '
  target=$0
  mkdir -p "$build/corpora/$target"
  status=0
  TESSERA_FUZZ_TARGET=$target "$fuzz" "$build/corpora/$target" "$root/Fuzz/Corpora/$target" -max_total_time="$seconds" \
    -runs="${FUZZ_RUNS:-10000000}" -timeout=1 -report_slow_units=1 -rss_limit_mb=2048 -malloc_limit_mb=512 -max_len=20000 \
    -print_final_stats=1 -artifact_prefix="$build/found/$target-" > "$build/$target.log" 2>&1 || status=$?
  echo "fuzz $target: $(grep -E "number_of_executed_units|average_exec_per_sec|peak_rss" "$build/$target.log" | tr "\n" " ")"
  if [ "$status" != 0 ]; then
    tail -40 "$build/$target.log"
    echo "fuzz $target: broken; see $build/found" >&2
    exit 1
  fi'

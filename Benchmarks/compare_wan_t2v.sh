#!/usr/bin/env bash
# Tessera and diffusers on the same Wan folder, alternately, in one sitting.
#
#   Benchmarks/compare_wan_t2v.sh FOLDER [rounds] [frames]     FOLDER made by make_wan_t2v_1_3b.py
#
# PYTHON names a Python with torch and diffusers; build with `swift build -c release` first. The first round also reads
# the files from disk: read the others. Peak memory is the resident set, mapped weight files included.
set -euo pipefail
cd "$(dirname "$0")/.."
export TESSERA_CACHE=off # the text encoder is part of what is timed
folder=$1 rounds=${2:-3} frames=${3:-17} prompt="a large red sphere on a grey floor"
for round in $(seq "$rounds"); do
  /usr/bin/time -f 'tessera   peak %M KiB' .build/release/generate-video -m "$folder" -p "$prompt" --size 416x240 \
    --num-frames "$frames" --steps 1 --seed 0 --dtype bfloat16 -t 2 -q --json -o outputs/benchmark.mkv |
    sed -E 's/.*"seconds":(\{[^}]*\}).*"seconds":([0-9.]+).*/tessera   \1 total \2/'
  printf 'diffusers '
  "${PYTHON:-python3}" Benchmarks/run_diffusers_wan.py --pipeline "$folder" --size 416x240 --num-frames "$frames" \
    --steps 1 --dtype bfloat16 --threads 2 --prompt "$prompt" 2>/dev/null | tail -n 1
done

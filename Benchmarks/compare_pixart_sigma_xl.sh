#!/usr/bin/env bash
# Tessera and diffusers on the same folder, alternately, three rounds in one sitting.
#
#   Benchmarks/compare_pixart_sigma_xl.sh FOLDER [rounds]     FOLDER made by make_pixart_sigma_xl.py
#
# PYTHON names a Python with torch and diffusers; build with `swift build -c release` first. The first round also reads
# the files from disk: read the others.
set -euo pipefail
cd "$(dirname "$0")/.."
export TESSERA_CACHE=off # the text encoder is part of what is timed
folder=$1 rounds=${2:-3} prompt="a large red sphere on a grey floor"
for round in $(seq "$rounds"); do
  .build/release/generate-image -m "$folder" -p "$prompt" --size 512x512 --steps 2 --max-sequence-length 300 --seed 0 \
    --dtype bfloat16 -t 2 -q --json -o outputs/benchmark.png |
    sed -E 's/.*"seconds":(\{[^}]*\}).*"seconds":([0-9.]+).*/tessera   \1 total \2/'
  printf 'diffusers '
  "${PYTHON:-python3}" Benchmarks/run_diffusers.py --pipeline "$folder" --size 512x512 --steps 2 --dtype bfloat16 \
    --threads 2 --prompt "$prompt" 2>/dev/null | tail -n 1
done

#!/usr/bin/env bash
# Every attention method on clips of the toy Wan pipeline at 5x15x26 and 21x30x52 tokens: that it runs, what it keeps, and
# that with everything kept it gives the latents of dense attention to the last bit.
#
#   Benchmarks/check_video_attention.sh        build with `swift build -c release` first; about five minutes on two cores
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r Tests/PipelineTests/Fixtures/toy-wan "$work/model"

run() { # name, size, frames, attention, more flags: prints density of sparse calls and of the run
  local name=$1 size=$2 frames=$3 attention=$4
  .build/release/generate-video -m "$work/model" -p "a red cube" --size "$size" --num-frames "$frames" --steps 4 --seed 1 \
    --attention "$attention" --dense-steps 1 --dense-layers 0 --save-latents "$work/$name.safetensors" --vae-tiling off \
    -q --json -o "$work/$name.mkv" |
    sed -E 's/.*"attention":\{"dense_layers":[^{]*"density":([0-9.]+).*"run_density":([0-9.]+).*"attention":([0-9.]+).*/\1 of sparse calls, \2 of the run, \3 s/'
}

for grid in "5x15x26 208x120 17" "21x30x52 416x240 81"; do
  read -r name size frames <<<"$grid"
  echo "$name dense: $(run dense "$size" "$frames" dense | sed 's/.*"attention":\([0-9.]*\),"attention plans.*/\1 s/')"
  .build/release/sweep-attention calibrate -m "$work/model" --method paro:densities=1/0.3,groups=1,queries=2 -p "a red cube" \
    --size "$size" --num-frames "$frames" --steps 4 --seeds 0 -q >/dev/null
  .build/release/sweep-attention calibrate -m "$work/model" --method sliding-tile:density=0.3 -p "a red cube" \
    --size "$size" --num-frames "$frames" --steps 4 --seeds 0 -q >/dev/null
  for method in sliding-tile sliding-tile:calibration=auto radial radial:decay=0.2 draft draft:sparsity=0.9 paro:density=0.3 random:density=0.3; do
    echo "$name $method: $(run sparse "$size" "$frames" "$method")"
    if cmp -s "$work/dense.safetensors" "$work/sparse.safetensors"; then
      echo "expected other latents than dense attention's" >&2
      exit 1
    fi
  done
  for method in sliding-tile:window=4096x4096x4096 radial:block=131072 draft:sparsity=0 paro:density=1 random:density=1; do
    run full "$size" "$frames" "$method" >/dev/null
    cmp "$work/dense.safetensors" "$work/full.safetensors"
    echo "$name $method: the same latents as dense"
  done
done

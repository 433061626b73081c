#!/usr/bin/env bash
# What the engine webgpu computes, and how fast, on a Linux machine on x64 with a GPU's driver and with neither a network
# nor Node. Takes at most ten minutes.
#
#   scripts/gpu-check.sh [OUT]
#
# First, where there is a network: node scripts/gpu-check/pack.mjs, which makes build/gpu-check and, for all of CIFAR-10,
# build/gpu-check-cifar10-1 and -2, each below 60 MiB, which may come in turns or be missing. OUT (default: ./gpu-check)
# receives results.json and table.txt, written after each line, so that what was found is there whatever happens later.
#
#   GPU_CHECK_SECONDS  when to stop (540): what takes longer is stopped, and says so
#   GPU_CHECK=tiny     a rehearsal of a few minutes, also on a driver that computes on the CPU
set -euo pipefail
SECONDS=0
here=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-gpu-check}
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
gzip -dc "$here/build/gpu-check/node.gz" >"$work/node"
chmod +x "$work/node"
"$work/node" -e '
  const { createReadStream } = require("fs");
  createReadStream(process.argv[1]).pipe(require("zlib").createBrotliDecompress()).pipe(process.stdout);
' "$here/build/gpu-check/rest.tar.br" | tar -x --no-same-owner -C "$work"
# The loader of the machine comes first, if it has one.
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/usr/lib/x86_64-linux-gnu:/usr/lib64:$work/lib"
# Containers often have the driver without the file that tells the loader of it.
if [ -z "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] && ! ls /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json >/dev/null 2>&1; then
  for name in libGLX_nvidia.so.0 libEGL_nvidia.so.0; do
    if ldconfig -p | grep -q "$name"; then
      printf '{"file_format_version":"1.0.0","ICD":{"library_path":"%s","api_version":"1.3.0"}}\n' "$name" >"$work/icd.json"
      export VK_DRIVER_FILES="$work/icd.json" VK_ICD_FILENAMES="$work/icd.json"
      break
    fi
  done
fi
export BANG_CACHE="$work/cache" GPU_CHECK_SPENT=$SECONDS
"$work/node" "$work/bang/scripts/gpu-check/check.mjs" "$work" "$out" "$here/build"

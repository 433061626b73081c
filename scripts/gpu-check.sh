#!/usr/bin/env bash
# What the engine webgpu computes, and how fast, on a Linux machine on x64 with a GPU's driver and with neither a network
# nor Node. Takes at most ten minutes.
#
#   scripts/gpu-check.sh [OUT]
#
# First, where there is a network: node scripts/gpu-check/pack.mjs, which makes build/gpu-check. OUT (default:
# ./gpu-check) receives results.json and table.txt. GPU_CHECK=tiny is a rehearsal that takes a minute or two also on a
# driver that computes on the CPU.
set -euo pipefail
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
' "$here/build/gpu-check/rest.tar.br" | tar -x -C "$work"
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
export BANG_CACHE="$work/cache"
"$work/node" "$work/bang/scripts/gpu-check/check.mjs" "$work" "$out"

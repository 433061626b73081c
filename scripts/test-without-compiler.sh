#!/usr/bin/env bash
# Both commands of the README, in a clone of their own, as on a machine without a compiler: PATH has everything
# but compilers, so the program computes with WebAssembly. The first is shortened, and the second does not install
# again. Arguments are for `npm test`.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
git clone -q . "$folder/clone"
mkdir "$folder/bin"
IFS=: read -ra places <<<"$PATH"
for place in "${places[@]}"; do
  for file in "$place"/*; do
    [ -x "$file" ] || continue
    name=${file##*/}
    case $name in
      *[cg]++* | *gcc* | cc | c[89]9* | *clang* | zig | *-cpp* | cpp* | tcc | icx | icpx) ;;
      *) [ -e "$folder/bin/$name" ] || ln -s "$file" "$folder/bin/$name" ;;
    esac
  done
done
export PATH="$folder/bin"
unset CXX CC
for compiler in c++ g++ clang++ cc gcc; do
  if command -v "$compiler" >/dev/null; then
    echo "test-without-compiler: there is still $compiler" >&2
    exit 1
  fi
done
cd "$folder/clone"

npm ci && node bin/bang.js run configs/lenet-b1.yaml --set training.iterations=500 --set evaluation.images=300
grep -q '"engine": "WebAssembly kernels"' runs/lenet-b1/result.json
npm test -- "$@"

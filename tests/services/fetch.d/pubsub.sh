#!/usr/bin/env bash
# Google's in-memory Pub/Sub, built from its Go module: pubsub.sh CACHE.  Takes a minute or two, once for each source.
set -euo pipefail
cache="$1"
source="$(cd "$(dirname "${BASH_SOURCE[0]}")/../pubsub" && pwd)"
newest="$cache/pubsub"
[[ -x "$newest" && -z "$(find "$source" -newer "$newest" -type f)" ]] && exit 0

PATH="$PATH:/usr/local/go/bin:/usr/lib/go/bin"
command -v go >/dev/null || { echo "needs Go 1.26 or newer to build it: https://go.dev/dl"; exit 1; }
cd "$source"
# Written beside its place and moved there whole, so that a build that is cut off leaves nothing half done.
CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o "$newest.new" . || { echo "go build of $source failed"; exit 1; }
mv "$newest.new" "$newest"

#!/usr/bin/env bash
# Toxiproxy, a proxy that breaks connections on request, built with Go once: toxiproxy.sh CACHE.
set -uo pipefail
cache="${1:?the folder to build into}"
version=v2.5.0

[[ -x "$cache/toxiproxy-server" ]] && exit 0
command -v go >/dev/null || { echo "toxiproxy: no Go here to build it with: install golang-go"; exit 1; }

# Built in a folder beside its place and moved there whole, so that a build cut short leaves nothing half done.
work="$(mktemp -d "$cache/toxiproxy.XXXXXX")" || exit 1
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
GOBIN="$work" CGO_ENABLED=0 go install -trimpath -ldflags="-s -w" "github.com/Shopify/toxiproxy/v2/cmd/server@$version" ||
  { echo "toxiproxy: could not be fetched or built by go install"; exit 1; }
mv "$work/server" "$cache/toxiproxy-server"

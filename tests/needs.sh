#!/bin/sh
# Installs what the tests need beyond Python: Maven fetches Kafka's jars, promtool checks rules, Chromium shows pages,
# Node runs the SDKs.
set -eu
cd "$(dirname "$0")"
missing=""
command -v mvn >/dev/null || missing="$missing maven"
command -v promtool >/dev/null || missing="$missing prometheus"
command -v chromedriver >/dev/null || missing="$missing chromium chromium-driver"
command -v npm >/dev/null || missing="$missing nodejs npm"

install() {
  if ! command -v apt-get >/dev/null; then
    echo "The tests need:$missing. Please install them and run this again." >&2
    exit 1
  fi
  SUDO=""
  [ "$(id -u)" = 0 ] || SUDO="sudo -n"
  echo "Installing for the tests:$missing"
  { $SUDO apt-get update -qq && $SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >/dev/null || {
    echo "The tests need:$missing. Please install them and run this again." >&2
    exit 1
  }
}

[ -z "$missing" ] || install
SDKS=sdks/node_modules/.package-lock.json
[ "$SDKS" -nt sdks/package-lock.json ] || npm ci --prefix sdks --silent || {
  echo "The tests need the packages of tests/sdks/package-lock.json; npm could not fetch them." >&2
  exit 1
}

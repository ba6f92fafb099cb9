#!/usr/bin/env bash
# The tests of groups and limits on a kernel of their own, in which cgroup v2 has its controllers,
# whatever this machine's has: `make controllers`.  Needs Debian's user-mode-linux, which it
# installs where it may; the file system is this machine's, read-only.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! command -v linux.uml >/dev/null; then
  if ! { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }; then
    echo "needs linux.uml: apt-get install user-mode-linux" >&2
    exit 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends user-mode-linux >/dev/null
fi
said=$(mktemp)
trap 'rm -f "$said"' EXIT
timeout 600 linux.uml mem=1500M rootfstype=hostfs hostfs=/ ro quiet con=null con0=null,fd:1 \
  init="$PWD/tests/controllers/init" JOBD_TREE="$PWD" JOBD_PYTHON="${1:-.venv/bin/python}" \
  </dev/null 2>&1 | tee "$said"
grep -q '^passed with: .*memory.*pids' "$said"

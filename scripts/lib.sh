# Shared by the scripts of this folder: paths, environment, messages. Sourced, never run.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export ROOT

# mke2fs, e2fsck, ldconfig and tgtd live where an ordinary user's PATH does not look.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1 DOTNET_GENERATE_ASPNET_CERTIFICATE=false
# Build servers outlive the command that started them and hold a build machine's memory.
export MSBUILDDISABLENODEREUSE=1 DOTNET_CLI_USE_MSBUILD_SERVER=0
# The tool's executable looks for the runtime in the system's places and in DOTNET_ROOT; `dotnet` may be neither.
if [ -z "${DOTNET_ROOT:-}" ] && command -v dotnet >/dev/null 2>&1; then
    DOTNET_ROOT=$(dirname "$(readlink -f "$(command -v dotnet)")")
    export DOTNET_ROOT
fi

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
else
    BOLD='' DIM='' RED='' GREEN='' PLAIN=''
fi
export BOLD DIM RED GREEN PLAIN

# fail MESSAGE: one line on stderr, exit 1.
fail() {
    printf '%s%s: %s%s\n' "$RED" "${0##*/}" "$1" "$PLAIN" >&2
    exit 1
}

# port_in_use PORT: something accepts connections on 127.0.0.1:PORT.
port_in_use() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# free_port FIRST: the first port from FIRST on that nobody listens on.
free_port() {
    local port=$1
    while port_in_use "$port"; do
        port=$((port + 1))
        [ $((port - $1)) -lt 100 ] || fail "no free port between $1 and $port"
    done
    echo "$port"
}

# seconds_since START: elapsed seconds with one decimal; START is a value of $EPOCHREALTIME.
seconds_since() {
    awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'
}

# iec BYTES: a size for people, in IEC units.
iec() {
    awk -v n="$1" 'BEGIN {
        split("B KiB MiB GiB TiB", u, " ")
        i = 1
        while (n >= 1024 && i < 5) { n /= 1024; i++ }
        printf (i == 1 ? "%d %s" : "%.1f %s"), n, u[i]
    }'
}

# limited SECONDS COMMAND...: runs a command without standard input, in a process group of its own that is ended after SECONDS, or when
# this script is interrupted; exit code 124 where the time was up.
limited() {
    timeout --kill-after=10 "$@" </dev/null &
    LIMITED_PID=$!
    trap 'kill "$LIMITED_PID" 2>/dev/null; wait "$LIMITED_PID"; exit 130' INT TERM
    local status=0
    wait "$LIMITED_PID" || status=$?
    trap - INT TERM
    return "$status"
}

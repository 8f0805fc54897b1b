#!/bin/sh
# What a trace costs: wall time of commands in the sandbox, without a trace and with it. docs/decisions/0052-trace.md has the
# figures.
#
# usage: trace-cost.sh FLIX IMAGE
#
# IMAGE needs git, python3 and perl. All runs on one processor and, as root, with real-time priority.
set -eu

measure=$(cat <<'EOF'
git init -q /dev/shm/repository
cd /dev/shm/repository
for i in $(seq 200); do echo $i > file$i; done
git add .
git -c user.name=x -c user.email=x@example.com commit -q -m x
cd /
time_of() {
    for i in $(seq 21); do
        start=$(date +%s%N)
        eval "$1" > /dev/null < /dev/null
        echo $((($(date +%s%N) - start) / 10000))
    done | sort -n | sed -n '1p; 11p' | while read -r t; do printf '%4d.%02d ' $((t / 100)) $((t % 100)); done
    echo " $1"
}
time_of "python3 -c 'import json, ssl, email, http.client, unittest, logging.config, urllib.request, decimal'"
time_of "perl -MPOSIX -MData::Dumper -MIO::Socket -e 1"
time_of "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done"
time_of "rm -rf /dev/shm/copy; git clone -q /dev/shm/repository /dev/shm/copy"
time_of "find /usr -name x"
time_of "ls -lR /usr"
EOF
)

pinned="taskset -c 0"
if [ "$(id -u)" = 0 ]; then pinned="$pinned chrt -f 10"; fi
for option in --run --trace; do
    echo "$option: best of 21 and median, ms"
    out=$($pinned "$1" -v --rerun -n "$option" "$measure" "$2" x /usr/bin/git 2>&1) || {
        echo "$out" >&2
        exit 1
    }
    echo "$out" | sed -n 's/^  | \( *[0-9]*\.[0-9][0-9] \)/\1/p'
done

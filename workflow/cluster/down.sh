#!/usr/bin/env bash
# Stop what up.sh started, with the jobs that are left, and forget them.
set -euo pipefail
if [[ ! -e /etc/slurm/made-by-videossl ]]; then
    echo "cluster/down.sh: no SLURM that up.sh started"
    exit 0
fi
pids() { ps -C "$1" -o pid=,stat= | awk '$2 !~ /^Z/ {print $1}'; }

if [[ -n $(pids slurmctld) ]]; then
    timeout 10 scancel --state=PENDING --state=RUNNING --user="$(id -un)" 2>/dev/null || true
fi
for daemon in slurmd slurmctld munged; do
    for pid in $(pids "$daemon"); do
        kill "$pid"
    done
    for _ in {1..100}; do
        [[ -z $(pids "$daemon") ]] && break
        sleep 0.1
    done
done
rm -rf /var/spool/slurmctld/* /var/spool/slurmd/*

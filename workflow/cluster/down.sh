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
for daemon in slurmd slurmctld slurmdbd munged; do
    for pid in $(pids "$daemon"); do
        kill "$pid"
    done
    for _ in {1..100}; do
        [[ -z $(pids "$daemon") ]] && break
        sleep 0.1
    done
done
if [[ -s /run/slurm/mariadbd.pid ]]; then # by its number: another MariaDB may run here
    database=$(cat /run/slurm/mariadbd.pid)
    kill "$database" 2>/dev/null || true
    for _ in {1..100}; do
        [[ -e /run/slurm/mariadbd.pid ]] || break
        sleep 0.1
    done
fi
rm -rf /var/lib/videossl-accounting
find /sys/fs/cgroup/*/"slurm_$(hostname -s)" -depth -type d -exec rmdir {} + 2>/dev/null || true
rm -rf /var/spool/slurmctld/* /var/spool/slurmd/*

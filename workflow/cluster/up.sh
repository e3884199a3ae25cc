#!/usr/bin/env bash
# A SLURM of one node on this machine, to try the profile on: Debian's packages, root, no systemd.
#   workflow/cluster/up.sh
#   CPUS=8 GPUS=2 MEMORY=64000 workflow/cluster/up.sh     # pretended; MEMORY in MiB
# It writes /etc/slurm and starts munged, slurmctld and slurmd; down.sh stops them. No accounting:
# the profile asks squeue. No cgroups: memory is counted every second, and what takes more is killed.
set -euo pipefail
cpus=${CPUS:-8} gpus=${GPUS:-2} memory=${MEMORY:-64000} age=${MIN_JOB_AGE:-300}
partition=${PARTITION:-MaxTime=INFINITE}
host=$(hostname -s)

if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "cluster/up.sh: needs root on Debian" >&2
    exit 1
fi
# a zombie is no daemon: containers may have no PID 1 that reaps
alive() { ps -C "$1" -o stat= | grep -qv '^Z'; }

absent=()
for package in procps slurmctld slurmd slurm-client munge; do
    dpkg -s "$package" >/dev/null 2>&1 || absent+=("$package")
done
if ((${#absent[@]})); then
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    apt-get -qq -y --no-install-recommends install "${absent[@]}" >/dev/null
fi
for daemon in slurmctld slurmd; do
    if alive "$daemon"; then
        echo "cluster/up.sh: $daemon runs already: this machine has a SLURM" >&2
        exit 1
    fi
done
mark=/etc/slurm/made-by-videossl # down.sh stops and forgets nothing else
if [[ -s /etc/slurm/slurm.conf && ! -e $mark ]]; then
    echo "cluster/up.sh: /etc/slurm/slurm.conf is another cluster's" >&2
    exit 1
fi
install -d /etc/slurm
touch "$mark"

# the daemons call each other by the node's name
getent hosts "$host" >/dev/null || echo "127.0.0.1 $host" >>/etc/hosts
install -d -o munge -g munge -m 0755 /run/munge /var/lib/munge
install -d -o munge -g munge -m 0700 /var/log/munge
install -d -m 0755 /var/spool/slurmctld /var/spool/slurmd /var/log/slurm /run/slurm
if [[ ! -s /etc/munge/munge.key ]]; then
    (umask 077 && head -c 1024 /dev/urandom >/etc/munge/munge.key)
    chown munge: /etc/munge/munge.key
fi
# detached from this script's pipes: whoever reads its output would wait for the daemons
alive munged || runuser -u munge -- /usr/sbin/munged </dev/null >/dev/null 2>&1
for _ in {1..50}; do
    munge -n </dev/null >/dev/null 2>&1 && break
    sleep 0.1
done

gres=""
echo "AutoDetect=off" >/etc/slurm/gres.conf
if ((gpus > 0)); then
    gres="Gres=gpu:$gpus"
    # slurmd counts a GPU without a device file as none: copies of /dev/null stand for them
    for ((i = 0; i < gpus; i++)); do
        [[ -e /run/slurm/gpu$i ]] || mknod "/run/slurm/gpu$i" c 1 3 || touch "/run/slurm/gpu$i"
    done
    echo "NodeName=$host Name=gpu File=/run/slurm/gpu[0-$((gpus - 1))]" >>/etc/slurm/gres.conf
fi
cat >/etc/slurm/slurm.conf <<CONF
ClusterName=videossl
SlurmctldHost=$host
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmdPidFile=/run/slurm/slurmd.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=$age
KillWait=5
JobRequeue=1
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory $gres State=UNKNOWN
PartitionName=main Nodes=$host Default=YES $partition State=UP
CONF
slurmctld </dev/null >/dev/null 2>&1
slurmd </dev/null >/dev/null 2>&1
for _ in {1..100}; do
    state=$(sinfo -h -o %T 2>/dev/null || true)
    [[ $state == idle ]] && break
    sleep 0.2
done
if [[ $state != idle ]]; then
    echo "cluster/up.sh: the node is ${state:-not there}, not idle" >&2
    tail -n 20 /var/log/slurm/slurmctld.log /var/log/slurm/slurmd.log >&2
    exit 1
fi
echo "cluster/up.sh: one node, $cpus CPUs, $gpus GPUs, $memory MiB"

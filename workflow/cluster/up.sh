#!/usr/bin/env bash
# A SLURM of one node on this machine, to try the profile on: Debian's packages, root, no systemd.
#   workflow/cluster/up.sh
#   CPUS=8 GPUS=2 MEMORY=64000 workflow/cluster/up.sh     # pretended; MEMORY in MiB
#   CGROUPS=1 workflow/cluster/up.sh       # the kernel holds a job to its memory
#   ACCOUNTING=1 workflow/cluster/up.sh    # slurmdbd, on a MariaDB of its own
# It writes /etc/slurm and starts munged, slurmctld and slurmd; down.sh stops them. Without CGROUPS
# memory is counted every second, and what takes more is killed. Jobs of the partition `urgent` take
# the node from those of `main`, which are queued again, and of `spare`, which are cancelled.
set -euo pipefail
cpus=${CPUS:-8} gpus=${GPUS:-2} memory=${MEMORY:-64000} age=${MIN_JOB_AGE:-300}
partition=${PARTITION:-MaxTime=INFINITE}
cgroups=${CGROUPS:-0} accounting=${ACCOUNTING:-0}
host=$(hostname -s)

if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "cluster/up.sh: needs root on Debian" >&2
    exit 1
fi
# a zombie is no daemon: containers may have no PID 1 that reaps
alive() { ps -C "$1" -o stat= | grep -qv '^Z'; }

absent=()
packages=(procps slurmctld slurmd slurm-client munge)
((accounting)) && packages+=(slurmdbd mariadb-server-core mariadb-client-core)
for package in "${packages[@]}"; do
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
# with the options, for who starts it again with others for a while
printf '%s\n' "CPUS=$cpus" "GPUS=$gpus" "MEMORY=$memory" "MIN_JOB_AGE=$age" "PARTITION=$partition" \
    "CGROUPS=$cgroups" "ACCOUNTING=$accounting" >"$mark"

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
tracking="ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherParams=OverMemoryKill"
rm -f /etc/slurm/cgroup.conf
if ((cgroups)); then
    if [[ -w /sys/fs/cgroup/memory/tasks ]]; then
        kind=cgroup/v1
    elif grep -qsw memory /sys/fs/cgroup/cgroup.subtree_control; then
        kind=cgroup/v2
    else
        echo "cluster/up.sh: CGROUPS=1, and no cgroups of memory that can be written" >&2
        exit 1
    fi
    # not into swap: a job that takes more is killed
    printf '%s\n' "CgroupPlugin=$kind" ConstrainRAMSpace=yes ConstrainSwapSpace=yes \
        AllowedSwapSpace=0 IgnoreSystemd=yes >/etc/slurm/cgroup.conf
    tracking="ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup"
fi

storage=accounting_storage/none
((accounting)) && storage=accounting_storage/slurmdbd
# a job that is queued again waits until its credential has ended: 10 seconds, not two minutes
cat >/etc/slurm/slurm.conf <<CONF
ClusterName=videossl
SlurmctldHost=$host
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=10
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmdPidFile=/run/slurm/slurmd.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
$tracking
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5,bf_interval=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=$age
KillWait=5
JobRequeue=1
GresTypes=gpu
AccountingStorageType=$storage
AccountingStorageHost=$host
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory $gres State=UNKNOWN
PartitionName=main Nodes=$host Default=YES PriorityTier=1 $partition State=UP
PartitionName=spare Nodes=$host PriorityTier=1 PreemptMode=CANCEL $partition State=UP
PartitionName=urgent Nodes=$host PriorityTier=2 PreemptMode=OFF $partition State=UP
CONF
((accounting)) && "$(dirname "$0")/accounting.sh" "$host"
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

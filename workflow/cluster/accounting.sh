#!/usr/bin/env bash
# SLURM's accounting on this machine, for up.sh, which has written slurm.conf: a MariaDB that only a
# socket reaches, slurmdbd, and an account `lab` of who calls this. down.sh stops and forgets them.
#   workflow/cluster/accounting.sh HOST        # where slurmdbd listens
#   workflow/cluster/accounting.sh database    # only the database again, after it was stopped
set -euo pipefail
host=$1
data=/var/lib/videossl-accounting socket=/run/slurm/accounting.sock

install -d -m 0700 "$data"
if [[ ! -d $data/mysql ]]; then
    # what is lost with the power may be lost here: no waiting for the disk
    mariadb-install-db --no-defaults --user=root --datadir="$data" \
        --auth-root-authentication-method=socket --skip-test-db >/dev/null
fi
mariadbd --no-defaults --user=root --datadir="$data" --socket="$socket" --skip-networking \
    --innodb-flush-log-at-trx-commit=0 --innodb-buffer-pool-size=64M --skip-log-bin \
    --pid-file=/run/slurm/mariadbd.pid </dev/null >/var/log/slurm/mariadbd.log 2>&1 &
for _ in {1..100}; do
    [[ -S $socket ]] && break
    sleep 0.1
done

[[ $host == database ]] && exit

(
    umask 077 # slurmdbd refuses a file that others read
    cat >/etc/slurm/slurmdbd.conf <<CONF
AuthType=auth/munge
DbdHost=$host
DbdAddr=127.0.0.1
SlurmUser=root
PidFile=/run/slurm/slurmdbd.pid
LogFile=/var/log/slurm/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=videossl
CONF
)
MYSQL_UNIX_PORT=$socket slurmdbd </dev/null >/dev/null 2>&1
for _ in {1..100}; do
    sacctmgr -n list cluster >/dev/null 2>&1 && break
    sleep 0.2
done
# an account and who may use it: what a site has
if ! sacctmgr -n list cluster >/dev/null || ! {
    sacctmgr -i add cluster videossl &&
        sacctmgr -i add account lab &&
        sacctmgr -i add user "$(id -un)" account=lab
} >/dev/null; then
    tail -n 20 /var/log/slurm/slurmdbd.log /var/log/slurm/mariadbd.log >&2
    exit 1
fi

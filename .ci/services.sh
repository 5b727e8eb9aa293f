#!/usr/bin/env bash
# Throw-away PostgreSQL and Redis servers for the tests.
#
#   eval "$(.ci/services.sh start)"   start both, set HANSEG_TEST_POSTGRES_URL,
#                                     HANSEG_TEST_REDIS_URL and HANSEG_TEST_SERVICES
#   .ci/services.sh stop [FOLDER]     stop both, delete their folder; the folder is
#                                     $HANSEG_TEST_SERVICES unless it is given
#
# Both listen on free ports of the loopback interface, ask for a password made for this
# run, keep everything in one temporary folder, and never write to a system's own
# cluster. Nothing durable: a test's data may be lost with the machine. Missing servers
# are installed from Debian when this runs as root. The only lines on standard output
# are the exports, so that `eval` can take them; everything else goes to standard error.
set -euo pipefail

START_SECONDS=60 # how long a server may take to answer
PORT_TRIES=3     # a free port may be taken between choosing and using it

say() { echo "services: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

newest_postgres() { # folder of initdb and pg_ctl, nothing if there is none
    local found
    found=$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -path '*/bin/initdb' \
        2>/dev/null | sort -V | tail -n 1 || true)
    if [[ -z $found ]]; then
        found=$(command -v initdb || true)
    fi
    if [[ -n $found ]]; then
        dirname "$found"
    fi
}

install_missing() {
    local missing=()
    [[ -n $(newest_postgres) ]] || missing+=(postgresql)
    command -v redis-server >/dev/null || missing+=(redis-server)
    ((${#missing[@]})) || return 0
    [[ $(id -u) == 0 ]] || fail "${missing[*]} missing, and only root can install it"
    command -v apt-get >/dev/null || fail "${missing[*]} missing, and there is no apt-get"
    say "installing ${missing[*]}"
    # Debian's packages would start servers of their own; this forbids it meanwhile.
    local policy=/usr/sbin/policy-rc.d ours=no
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        ours=yes
    fi
    local log status=0
    log=$(mktemp)
    {
        DEBIAN_FRONTEND=noninteractive apt-get update -q &&
            DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
                --no-install-recommends "${missing[@]}"
    } >"$log" 2>&1 </dev/null || status=$?
    [[ $ours == no ]] || rm -f "$policy"
    if ((status != 0)); then
        tail -n 20 "$log" >&2
        rm -f "$log"
        fail "apt-get could not install ${missing[*]}"
    fi
    rm -f "$log"
}

unprivileged() { # run a command as the servers' user; PostgreSQL refuses root
    if [[ $(id -u) == 0 ]]; then
        runuser -u "$server_user" -- "$@"
    else
        "$@"
    fi
}

free_port() {
    python3 -c 'import socket
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    print(s.getsockname()[1])'
}

new_password() { head -c 18 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

start_postgres() { # sets postgres_url
    local bin data=$folder/postgres password port try
    bin=$(newest_postgres)
    password=$(new_password)
    unprivileged sh -c 'umask 077; printf "%s\n" "$1" >"$2"' - \
        "$password" "$folder/postgres.password"
    unprivileged "$bin/initdb" --pgdata="$data" --username=hanseg --encoding=UTF8 \
        --locale=C.UTF-8 --auth=scram-sha-256 --no-sync \
        --pwfile="$folder/postgres.password" >"$folder/initdb.log" 2>&1 ||
        { cat "$folder/initdb.log" >&2; fail "initdb failed"; }
    for ((try = 1; try <= PORT_TRIES; try++)); do
        port=$(free_port)
        if unprivileged "$bin/pg_ctl" --pgdata="$data" --log="$folder/postgres.log" \
            --wait --timeout="$START_SECONDS" --options="-p $port \
-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off \
-c synchronous_commit=off -c full_page_writes=off -c max_connections=200 \
-c shared_buffers=32MB" start >&2 2>>"$folder/pg_ctl.log"; then
            postgres_url="postgresql+psycopg://hanseg:$password@127.0.0.1:$port/postgres"
            return 0
        fi
    done
    cat "$folder/pg_ctl.log" "$folder/postgres.log" >&2 || true
    fail "PostgreSQL did not start within $START_SECONDS s"
}

start_redis() { # sets redis_url
    local password port try
    password=$(new_password)
    for ((try = 1; try <= PORT_TRIES; try++)); do
        port=$(free_port)
        unprivileged sh -c 'umask 077; cat >"$1"' - "$folder/redis.conf" <<CONF
bind 127.0.0.1
port $port
requirepass $password
save ""
appendonly no
dir $folder
pidfile $folder/redis.pid
logfile $folder/redis.log
daemonize yes
maxmemory-policy noeviction
CONF
        unprivileged redis-server "$folder/redis.conf" >&2 || true
        if redis_answers "$port" "$password"; then
            redis_url="redis://:$password@127.0.0.1:$port/0"
            return 0
        fi
    done
    cat "$folder/redis.log" >&2 || true
    fail "Redis did not start"
}

redis_answers() { # port, password
    local deadline=$((SECONDS + 10))
    while ((SECONDS < deadline)); do
        if [[ $(REDISCLI_AUTH=$2 redis-cli -h 127.0.0.1 -p "$1" ping 2>/dev/null) == PONG ]]; then
            return 0
        fi
        if grep -q 'Failed listening' "$folder/redis.log" 2>/dev/null; then
            rm -f "$folder/redis.log" # the next try has a log of its own
            return 1
        fi
        sleep 0.1
    done
    return 1
}

stop_all() { # folder; succeeds when nothing runs there any more
    local folder=$1 bin pid tick
    bin=$(newest_postgres)
    if [[ -s $folder/postgres/postmaster.pid ]]; then
        unprivileged "$bin/pg_ctl" --pgdata="$folder/postgres" --mode=immediate \
            --wait --timeout=30 stop >&2 || fail "PostgreSQL in $folder did not stop"
    fi
    if [[ -s $folder/redis.pid ]]; then
        pid=$(<"$folder/redis.pid")
        kill "$pid" 2>/dev/null || true
        for ((tick = 0; tick < 100; tick++)); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        ! kill -0 "$pid" 2>/dev/null || fail "Redis (process $pid) did not stop"
    fi
    rm -rf "$folder"
}

start() { # anything printed here reaches the caller's `eval`
    trap 'echo false' EXIT
    install_missing
    folder=$(mktemp -d "${TMPDIR:-/tmp}/hanseg-services.XXXXXXXX")
    # until both run; the "false" makes the caller's `eval` fail too
    trap 'echo false; stop_all "$folder"' EXIT
    [[ $(id -u) != 0 ]] || chown "$server_user" "$folder"
    start_postgres
    start_redis
    trap - EXIT
    say "PostgreSQL and Redis run in $folder"
    printf 'export HANSEG_TEST_SERVICES=%q\n' "$folder"
    printf 'export HANSEG_TEST_POSTGRES_URL=%q\n' "$postgres_url"
    printf 'export HANSEG_TEST_REDIS_URL=%q\n' "$redis_url"
}

stop() {
    local folder=${1:-${HANSEG_TEST_SERVICES:-}}
    [[ -n $folder ]] || fail "stop needs the folder that start has named"
    [[ $(basename "$folder") == hanseg-services.* ]] || fail "$folder is not ours to delete"
    [[ -d $folder ]] || fail "there is no $folder: already stopped?"
    stop_all "$folder"
    say "stopped"
}

server_user=postgres # Debian's package makes it
case ${1:-} in
start) start ;;
stop) stop "${2:-}" ;;
*) fail "usage: eval \"\$(.ci/services.sh start)\"; .ci/services.sh stop [FOLDER]" ;;
esac

#!/usr/bin/env bash
# Throw-away PostgreSQL, Redis, RabbitMQ and Orthanc servers for the tests.
#
#   eval "$(.ci/services.sh start)"   start them, set HANSEG_TEST_POSTGRES_URL,
#                                     HANSEG_TEST_REDIS_URL, HANSEG_TEST_RABBITMQ_URL,
#                                     HANSEG_TEST_ORTHANC_URL,
#                                     HANSEG_TEST_ORTHANC_DICOM (AET@HOST:PORT) and
#                                     HANSEG_TEST_SERVICES
#   .ci/services.sh stop [FOLDER]     stop them, delete their folder; the folder is
#                                     $HANSEG_TEST_SERVICES unless it is given
#
# They listen on free ports of the loopback interface (Orthanc's DICOM port on all, as it
# knows no other way), ask for a password made for this run, keep everything in one
# temporary folder, and never write to a system's own cluster. Nothing durable: a test's
# data may be lost with the machine. Missing servers, and the DICOM programs that tests
# call, are installed from Debian when this runs as root. The only lines on standard
# output are the exports, so that `eval` can take them; everything else goes to standard
# error.
set -euo pipefail

START_SECONDS=60 # how long a server may take to answer
PORT_TRIES=3     # a free port may be taken between choosing and using it
RABBITMQ=/usr/lib/rabbitmq/bin # not the scripts in /usr/sbin, which change the user
DICOMWEB=/usr/share/orthanc/plugins/libOrthancDicomWeb.so

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
    [[ -x $RABBITMQ/rabbitmq-server ]] || missing+=(rabbitmq-server)
    command -v openssl >/dev/null || missing+=(openssl)
    command -v Orthanc >/dev/null || missing+=(orthanc)
    [[ -e $DICOMWEB ]] || missing+=(orthanc-dicomweb)
    [[ -x /usr/bin/storescu ]] || missing+=(dcmtk) # pynetdicom has one of that name
    command -v plastimatch >/dev/null || missing+=(plastimatch)
    command -v chromium >/dev/null || missing+=(chromium)
    command -v promtool >/dev/null || missing+=(prometheus) # the rules of alerts
    # an object store that speaks S3; the tests start it themselves
    [[ -x /usr/bin/swift-proxy-server ]] ||
        missing+=(swift-proxy swift-account swift-container swift-object)
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

start_rabbitmq() { # sets rabbitmq_url
    local home=$folder/rabbitmq password port tls try
    password=$(new_password)
    unprivileged mkdir -p "$home"
    unprivileged openssl req -x509 -newkey rsa:2048 -nodes -days 2 \
        -subj /CN=tests -addext "subjectAltName=IP:127.0.0.1" \
        -keyout "$home/key.pem" -out "$home/certificate.pem" 2>/dev/null
    for ((try = 1; try <= PORT_TRIES; try++)); do
        port=$(free_port)
        tls=$(free_port)
        unprivileged sh -c 'umask 077; echo "$2" >"$1/tls.port"
            cat >"$1/rabbitmq.conf"' - "$home" "$tls" <<CONF
listeners.tcp.1 = 127.0.0.1:$port
listeners.ssl.1 = 127.0.0.1:$tls
ssl_options.certfile = $home/certificate.pem
ssl_options.keyfile = $home/key.pem
ssl_options.verify = verify_none
default_user = hanseg
default_pass = $password
loopback_users = none
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 50MB
log.console = false
CONF
        unprivileged sh -c 'umask 077; : >"$1/plugins"; cat >"$1/ctl"; chmod u+x "$1/ctl"
            [ -e "$1/.erlang.cookie" ] || head -c 18 /dev/urandom | base64 \
                >"$1/.erlang.cookie"; chmod 400 "$1/.erlang.cookie"' - "$home" <<CTL
#!/bin/sh
# One of RabbitMQ's own programs, for the node in this folder: ctl NAME ARGUMENTS...
export HOME='$home' ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$(free_port)
export RABBITMQ_NODENAME=hanseg@localhost RABBITMQ_DIST_PORT=$(free_port)
export RABBITMQ_MNESIA_BASE='$home/data' RABBITMQ_LOG_BASE='$home/log'
export RABBITMQ_CONFIG_FILE='$home/rabbitmq.conf' RABBITMQ_PID_FILE='$home/pid'
export RABBITMQ_ENABLED_PLUGINS_FILE='$home/plugins' RABBITMQ_CONF_ENV_FILE=/dev/null
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='+S 1:1 +sbwt none'
export RABBITMQ_CTL_ERL_ARGS='+S 1:1 +sbwt none'
case \$1 in epmd) exec "\$@" ;; esac
exec "$RABBITMQ/\$@"
CTL
        unprivileged sh -c 'cd "$1"; nohup ./ctl rabbitmq-server >"$1/out.log" 2>&1 \
            </dev/null & echo $! >"$1/launcher.pid"' - "$home"
        if rabbitmq_answers "$home" "$port"; then
            rabbitmq_url="amqp://hanseg:$password@127.0.0.1:$port//"
            return 0
        fi
        stop_rabbitmq "$home" || true
    done
    cat "$home/out.log" >&2 || true
    fail "RabbitMQ did not start"
}

rabbitmq_answers() { # folder, port; whether it does, before its process ends
    local deadline=$((SECONDS + START_SECONDS))
    while ((SECONDS < deadline)); do
        if [[ $(exec 3<>"/dev/tcp/127.0.0.1/$2" && printf 'AMQP\0\0\x09\x01' >&3 &&
            head -c 1 <&3 | od -An -tx1) == " 01" ]] 2>/dev/null; then
            return 0
        fi
        [[ -e /proc/$(<"$1/launcher.pid") ]] || return 1
        sleep 0.2
    done
    return 1
}

stop_rabbitmq() { # folder; succeeds when nothing of it runs any more
    local status=0
    if [[ -s $1/pid ]]; then
        end_process "$(<"$1/pid")" || status=1
    fi
    # its own name server: on its own port, and alone
    unprivileged "$1/ctl" epmd -kill >/dev/null 2>&1 || true
    return $status
}

start_orthanc() { # sets orthanc_url and orthanc_dicom
    local password http dicom try
    password=$(new_password)
    for ((try = 1; try <= PORT_TRIES; try++)); do
        http=$(free_port)
        dicom=$(free_port)
        unprivileged sh -c 'umask 077; mkdir -p "$1/orthanc"; cat >"$1/orthanc.json"' - \
            "$folder" <<JSON
{
  "Name": "tests", "StorageDirectory": "$folder/orthanc",
  "IndexDirectory": "$folder/orthanc", "TemporaryDirectory": "$folder/orthanc",
  "HttpPort": $http, "RemoteAccessAllowed": false, "AuthenticationEnabled": true,
  "RegisteredUsers": {"hanseg": "$password"}, "DicomAet": "ORTHANC",
  "DicomPort": $dicom, "DicomModalitiesInDatabase": true, "StableAge": 1,
  "UnknownSopClassAccepted": true, "ConcurrentJobs": 2, "HttpThreadsCount": 8,
  "Plugins": ["$DICOMWEB"], "DicomWeb": {"Enable": true}
}
JSON
        unprivileged sh -c 'nohup Orthanc "$1/orthanc.json" >"$1/orthanc.log" 2>&1 \
            </dev/null & echo $! >"$1/orthanc.pid"' - "$folder"
        orthanc_url="http://hanseg:$password@127.0.0.1:$http"
        orthanc_dicom="ORTHANC@127.0.0.1:$dicom"
        orthanc_answers "$http" "$password" && return 0
        end_process "$(<"$folder/orthanc.pid")" || true
    done
    cat "$folder/orthanc.log" >&2 || true
    fail "Orthanc did not start"
}

orthanc_answers() { # port, password; whether it does, before its process ends
    python3 - "$1" "$2" "$(<"$folder/orthanc.pid")" "$START_SECONDS" <<'PY'
import base64, os, sys, time, urllib.request

port, password, process, seconds = sys.argv[1:]
key = base64.b64encode(f"hanseg:{password}".encode()).decode()
request = urllib.request.Request(
    f"http://127.0.0.1:{port}/system", headers={"Authorization": f"Basic {key}"}
)
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
end = time.monotonic() + float(seconds)
while time.monotonic() < end and os.path.exists(f"/proc/{process}"):
    try:
        direct.open(request, timeout=2).read()
        sys.exit(0)
    except OSError:
        time.sleep(0.1)
sys.exit(1)
PY
}

end_process() { # process; succeeds when it has ended
    local pid=$1 tick
    kill "$pid" 2>/dev/null || true
    for ((tick = 0; tick < 100; tick++)); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    return 1
}

stop_all() { # folder; succeeds when nothing runs there any more
    local folder=$1 bin name pid
    bin=$(newest_postgres)
    if [[ -s $folder/postgres/postmaster.pid ]]; then
        unprivileged "$bin/pg_ctl" --pgdata="$folder/postgres" --mode=immediate \
            --wait --timeout=30 stop >&2 || fail "PostgreSQL in $folder did not stop"
    fi
    if [[ -x $folder/rabbitmq/ctl ]]; then
        stop_rabbitmq "$folder/rabbitmq" || fail "RabbitMQ in $folder did not stop"
    fi
    for name in redis orthanc; do
        [[ -s $folder/$name.pid ]] || continue
        pid=$(<"$folder/$name.pid")
        end_process "$pid" || fail "$name (process $pid) did not stop"
    done
    rm -rf "$folder"
}

start() { # anything printed here reaches the caller's `eval`
    trap 'echo false' EXIT
    install_missing
    folder=$(mktemp -d "${TMPDIR:-/tmp}/hanseg-services.XXXXXXXX")
    # until all run; the "false" makes the caller's `eval` fail too
    trap 'echo false; stop_all "$folder"' EXIT
    [[ $(id -u) != 0 ]] || chown "$server_user" "$folder"
    start_postgres
    start_redis
    start_rabbitmq
    start_orthanc
    trap - EXIT
    say "PostgreSQL, Redis, RabbitMQ and Orthanc run in $folder"
    printf 'export HANSEG_TEST_SERVICES=%q\n' "$folder"
    printf 'export HANSEG_TEST_POSTGRES_URL=%q\n' "$postgres_url"
    printf 'export HANSEG_TEST_REDIS_URL=%q\n' "$redis_url"
    printf 'export HANSEG_TEST_RABBITMQ_URL=%q\n' "$rabbitmq_url"
    printf 'export HANSEG_TEST_ORTHANC_URL=%q\n' "$orthanc_url"
    printf 'export HANSEG_TEST_ORTHANC_DICOM=%q\n' "$orthanc_dicom"
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

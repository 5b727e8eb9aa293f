#!/bin/sh
# Starts Redis; at the first start makes the password and writes, for this service only:
#   /run/hanseg/users.acl          who may do what (the password as its SHA-256)
#   /run/hanseg/hanseg_broker_url  the address with the password, read by API and workers
# To change the password, remove that volume and start again.
set -eu
umask 077
folder=/run/hanseg

make_credentials() {
    password=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
    hash=$(printf '%s' "$password" | sha256sum | cut -d ' ' -f 1)
    cat >"$folder/users.acl.new" <<ACL
user default off
user probe on nopass -@all +ping
user hanseg on #$hash ~* &* +@all -@admin -@dangerous +info
ACL
    printf 'redis://hanseg:%s@%s:6379/0' "$password" "${HANSEG_REDIS_HOST:-redis}" \
        >"$folder/hanseg_broker_url.new"
    mv "$folder/hanseg_broker_url.new" "$folder/hanseg_broker_url"
    mv "$folder/users.acl.new" "$folder/users.acl"  # last: it says that all is there
}

[ -s "$folder/users.acl" ] || make_credentials
exec redis-server /etc/hanseg/redis.conf

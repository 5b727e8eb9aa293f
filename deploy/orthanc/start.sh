#!/bin/sh
# Starts Orthanc; at the first start makes the password and writes, for this service only:
#   /run/orthanc/hanseg_bridge_orthanc_password   read by the bridge
#   /run/orthanc/users.json                       read by Orthanc
#   /run/orthanc/curl                             read by the health check
# To change the password, remove that volume and start again.
set -eu
umask 077
folder=/run/orthanc

make_credentials() {
    password=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
    printf '%s' "$password" >"$folder/hanseg_bridge_orthanc_password"
    printf 'user = "hanseg:%s"\n' "$password" >"$folder/curl"
    printf '{"RegisteredUsers": {"hanseg": "%s"}}\n' "$password" >"$folder/users.json.new"
    mv "$folder/users.json.new" "$folder/users.json" # last: it says that all is there
}

[ -s "$folder/users.json" ] || make_credentials
# Orthanc reads every .json file of a folder
mkdir -p /tmp/configuration
cp /etc/hanseg/orthanc.json "$folder/users.json" /tmp/configuration/
printf '{"DicomAet": "%s"}\n' "${HANSEG_ORTHANC_AET:-ORTHANC}" >/tmp/configuration/aet.json
exec Orthanc /tmp/configuration

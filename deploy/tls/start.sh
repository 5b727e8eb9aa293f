#!/bin/sh
# Starts nginx with the certificate in /run/tls (fullchain.pem, privkey.pem). If both are
# missing there, it makes a self-signed one for $HANSEG_TLS_NAMES, to try things out.
set -eu
umask 077
folder=/run/tls

make_certificate() {
    names=$(printf '%s' "$HANSEG_TLS_NAMES" | sed 's/[^,][^,]*/DNS:&/g')
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 \
        -subj "/CN=${HANSEG_TLS_NAMES%%,*}" -addext "subjectAltName=$names,IP:127.0.0.1" \
        -keyout "$folder/privkey.pem.new" -out "$folder/fullchain.pem.new" 2>/tmp/openssl.log \
        || { cat /tmp/openssl.log >&2; return 1; }
    mv "$folder/privkey.pem.new" "$folder/privkey.pem"
    mv "$folder/fullchain.pem.new" "$folder/fullchain.pem"
    echo "made a self-signed certificate for $HANSEG_TLS_NAMES, valid for 90 days" >&2
}

if [ ! -e "$folder/fullchain.pem" ] && [ ! -e "$folder/privkey.pem" ]; then
    make_certificate
fi
for file in fullchain.pem privkey.pem; do
    [ -r "$folder/$file" ] || { echo "user 10001 cannot read $file in the folder of HANSEG_TLS_FOLDER" >&2; exit 1; }
done
port=:$HANSEG_TLS_PORT
[ "$port" != :443 ] || port=
sed "s/%PORT%/$port/" /etc/hanseg/nginx.conf >/tmp/nginx.conf
exec nginx -c /tmp/nginx.conf

#!/bin/sh
# Creates the certificates and passwords for compose.secure.yml: a CA, certificates of the broker and of its administrator, and a
# password for each principal. Runs at each `up`: existing files are kept, except certificates that expire within 30 days,
# which are issued again. Each program has its own volume, below $secrets, with its own files only.
set -eu
umask 077
secrets=${SECRETS:-/secrets}
given=${GIVEN_PASSWORDS:-/given-passwords}
roles="generator processor analytics sink viewer dead-letters recompute"
services="generator processor analytics sink viewer" # those that run in containers
app=10001 # the user of the services' images
kafka=1000 # the user of Kafka's image

# A file is first written under another name, so that an interrupted start leaves no incomplete file.
put() { # FILE OWNER MODE: the standard input becomes the file
    cat >"$1.new"
    chown "$2" "$1.new"
    chmod "$3" "$1.new"
    mv "$1.new" "$1"
}

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256; }

is_good() { [ -s "$1" ] && openssl x509 -in "$1" -noout -checkend 2592000 >/dev/null; }

make_ca() {
    new_key >"$secrets/ca/key"
    openssl req -x509 -new -key "$secrets/ca/key" -subj "/CN=order pipeline CA" -days 3650 \
        -addext "basicConstraints=critical,CA:true" -addext "keyUsage=critical,keyCertSign,cRLSign" >"$secrets/ca/new"
    mv "$secrets/ca/new" "$secrets/ca/ca.pem"
}

issue() { # NAME NAMES FOLDER OWNER: a certificate for clients and servers in FOLDER/NAME.pem, with its key and the CA's
    folder=$3
    if is_good "$folder/$1.pem" && openssl verify -CAfile "$secrets/ca/ca.pem" "$folder/$1.pem" >/dev/null 2>&1; then
        return
    fi
    work=$(mktemp -d)
    new_key >"$work/key"
    openssl req -new -key "$work/key" -subj "/CN=$1" >"$work/request"
    printf 'subjectAltName=%s\nbasicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature\n' "$2" >"$work/extensions"
    printf 'extendedKeyUsage=serverAuth,clientAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' >>"$work/extensions"
    openssl x509 -req -in "$work/request" -CA "$secrets/ca/ca.pem" -CAkey "$secrets/ca/key" -days 825 \
        -extfile "$work/extensions" >"$work/certificate" 2>/dev/null
    cat "$work/key" "$work/certificate" "$secrets/ca/ca.pem" | put "$folder/$1.pem" "$4" 400
    rm -r "$work"
    echo "issued a certificate for $1"
}

is_good "$secrets/ca/ca.pem" || make_ca
mkdir -p "$secrets/admin/passwords"
chown "$app" "$secrets/admin/passwords"
issue kafka "DNS:kafka,DNS:localhost,IP:127.0.0.1" "$secrets/kafka" "$kafka"
issue kafka-admin "DNS:kafka-admin" "$secrets/admin" "$app"
for folder in kafka admin $services; do
    put "$secrets/$folder/ca.pem" root 444 <"$secrets/ca/ca.pem"
done
for role in $roles; do
    file=$secrets/admin/passwords/$role
    if [ -s "$given/$role" ]; then
        put "$file" "$app" 400 <"$given/$role"
    elif [ ! -s "$file" ]; then
        openssl rand -hex 24 | put "$file" "$app" 400
    fi
done
for service in $services; do
    # The sink runs as the owner of the output folder; no other program has this volume.
    put "$secrets/$service/password" root 444 <"$secrets/admin/passwords/$service"
done

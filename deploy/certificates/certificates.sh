#!/bin/sh
# Small certificate authorities for Bailiwick, with openssl 3 and nothing else.
#
#   certificates.sh authority FAMILY               a new authority, once for each family, on that family's machine
#   certificates.sh issue FAMILY ROLE ID [REGION]  a key and a certificate; vaults have a region
#   certificates.sh renew FAMILY ID                the same name again, with a new key
#   certificates.sh revoke FAMILY ID               puts all certificates of this id on the family's list
#   certificates.sh list FAMILY                    what the authority has issued, and until when
#   certificates.sh bundle                         joins authorities (and lists, when all have one) for every process
#
# A family is who may vouch for whom:
#   storage       vault
#   service       edge, backend, intake, operator, auditor, recipient
#   workflow      approver-workflow, reviewer        (the workflow committee's own organisation)
#   legal-review  approver-legal-review, reviewer    (the legal-review committee's own organisation)
#
# BAILIWICK_TRUST_DOMAIN   the trust domain, such as bailiwick.example; must be set
# BAILIWICK_CERTIFICATES   the folder, ./certificates when unset
# DAYS                     how long a certificate is valid, 30 when unset
# DNS                      a DNS name for an edge that programs other than bailiwick call; no identity depends on it
#
# Written there:
#   FAMILY/authority.pem, FAMILY/private/authority.key, FAMILY/index.txt, FAMILY/revocations.pem
#   issued/ID.pem, issued/ID.key          what a process gets
#   authorities.pem, revocations.pem      what every process gets
set -eu
umask 077

folder=${BAILIWICK_CERTIFICATES:-certificates}
days=${DAYS:-30}
authority_days=1825

fail() {
    echo "certificates.sh: $1" >&2
    echo "  do: $2" >&2
    exit 2
}

usage() { sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p}' "$0"; }

domain() {
    case ${BAILIWICK_TRUST_DOMAIN:-} in
        '') fail "no trust domain" "export BAILIWICK_TRUST_DOMAIN=bailiwick.example" ;;
        *[!a-z0-9.-]*) fail "$BAILIWICK_TRUST_DOMAIN is no trust domain" "use a to z, 0 to 9, dot and hyphen" ;;
        *) echo "$BAILIWICK_TRUST_DOMAIN" ;;
    esac
}

known_family() {
    case $1 in
        storage | service | workflow | legal-review) ;;
        *) fail "$1 is no family" "name storage, service, workflow or legal-review" ;;
    esac
}

# family_may FAMILY ROLE: an authority vouches for its own roles only.
family_may() {
    case "$1 $2" in
        "storage vault") ;;
        "service edge" | "service backend" | "service intake" | "service operator") ;;
        "service auditor" | "service recipient") ;;
        "workflow approver-workflow" | "workflow reviewer") ;;
        "legal-review approver-legal-review" | "legal-review reviewer") ;;
        *) fail "the authority $1 does not vouch for the role $2" "use the family that the role belongs to (see --help)" ;;
    esac
}

have_authority() {
    [ -f "$folder/$1/private/authority.key" ] && return
    fail "there is no authority $1 in $folder" "certificates.sh authority $1"
}

# configuration FAMILY: for openssl ca; which name goes in comes from the environment.
configuration() {
    cat <<END
[ca]
default_ca = family
[family]
database = $folder/$1/index.txt
serial = $folder/$1/serial
crlnumber = $folder/$1/crlnumber
new_certs_dir = $folder/$1/issued
certificate = $folder/$1/authority.pem
private_key = $folder/$1/private/authority.key
default_md = sha256
default_crl_days = 8
unique_subject = no
policy = any
copy_extensions = none
[any]
commonName = supplied
organizationalUnitName = supplied
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = \${ENV::BAILIWICK_NAMES}
[request]
distinguished_name = empty
[empty]
END
}

new_key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null ||
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

authority() {
    known_family "$1"
    domain >/dev/null
    [ ! -e "$folder/$1" ] || fail "$folder/$1 is there already" "keep it: all its certificates depend on its key"
    mkdir -p "$folder/issued" "$folder/$1/private" "$folder/$1/issued"
    : >"$folder/$1/index.txt"
    openssl rand -hex 15 >"$folder/$1/serial"
    echo 01 >"$folder/$1/crlnumber"
    BAILIWICK_NAMES=none configuration "$1" >"$folder/$1/openssl.cnf"
    new_key "$folder/$1/private/authority.key"
    BAILIWICK_NAMES=URI:none openssl req -x509 -new -sha256 -config "$folder/$1/openssl.cnf" -section request \
        -extensions authority -key "$folder/$1/private/authority.key" -days "$authority_days" \
        -subj "/CN=$(domain) $1 authority" -out "$folder/$1/authority.pem"
    echo "authority $1: $folder/$1/authority.pem; its key never leaves this machine"
}

# sign FAMILY ROLE ID REGION: a new key and certificate, put in place of the old ones at once.
sign() {
    name="spiffe://$(domain)/$2/${4:+$4/}$3"
    names="URI:$name"
    [ -z "${DNS:-}" ] || names="$names,DNS:$DNS"
    new="$folder/issued/$3.new"
    new_key "$new.key"
    BAILIWICK_NAMES="$names" openssl req -new -config "$folder/$1/openssl.cnf" -section request -key "$new.key" \
        -subj "/OU=$2/CN=$3" -out "$new.csr"
    BAILIWICK_NAMES="$names" openssl ca -batch -notext -config "$folder/$1/openssl.cnf" -extensions leaf \
        -days "$days" -in "$new.csr" -out "$new.pem" 2>"$new.log" || {
        cat "$new.log" >&2
        fail "openssl did not sign $name" "read its message above"
    }
    rm "$new.csr" "$new.log"
    chmod 644 "$new.pem"
    mv "$new.key" "$folder/issued/$3.key"
    mv "$new.pem" "$folder/issued/$3.pem"
    echo "$name: $folder/issued/$3.pem, valid for $days days"
}

issue() {
    known_family "$1"
    family_may "$1" "$2"
    have_authority "$1"
    case $3 in '' | *[!a-z0-9.-]*) fail "$3 is no id" "use a to z, 0 to 9, dot and hyphen" ;; esac
    case $2,${4:-} in
        vault,) fail "a vault's name has a region" "certificates.sh issue $1 vault $3 REGION" ;;
        vault,*[!a-z0-9-]*) fail "$4 is no region" "use a to z, 0 to 9 and hyphen" ;;
        vault,* | *,) ;;
        *) fail "only a vault's name has a region" "certificates.sh issue $1 $2 $3" ;;
    esac
    [ ! -e "$folder/issued/$3.pem" ] || fail "$3 has a certificate" "certificates.sh renew $1 $3"
    sign "$1" "$2" "$3" "${4:-}"
}

# The URI name of a certificate, without its scheme and trust domain: ROLE/[REGION/]ID.
path_of() {
    openssl x509 -in "$1" -noout -ext subjectAltName |
        sed -n 's|.*URI:spiffe://[^/]*/\([^, ]*\).*|\1|p'
}

renew() {
    known_family "$1"
    have_authority "$1"
    old="$folder/issued/$2.pem"
    [ -f "$old" ] || fail "$2 has no certificate in $folder/issued" "certificates.sh issue $1 ROLE $2"
    openssl verify -no_check_time -CAfile "$folder/$1/authority.pem" "$old" >/dev/null 2>&1 ||
        fail "the certificate of $2 is not one of the authority $1" "name the family that issued it"
    path=$(path_of "$old")
    role=${path%%/*}
    region=${path#"$role/"}
    region=${region%"$2"}
    sign "$1" "$role" "$2" "${region%/}"
}

revoke() {
    known_family "$1"
    have_authority "$1"
    found=no
    # Every certificate ever issued under this id: a thief may have kept an older one.
    for serial in $(awk -F '\t' -v id="CN=$2" \
        '$1 == "V" { n = split($6, part, "/"); for (i in part) if (part[i] == id) print $4 }' "$folder/$1/index.txt"); do
        BAILIWICK_NAMES=none openssl ca -config "$folder/$1/openssl.cnf" \
            -revoke "$folder/$1/issued/$serial.pem" 2>/dev/null
        found=yes
    done
    [ $found = yes ] || fail "the authority $1 has no valid certificate of $2" "certificates.sh list $1"
    revocations "$1"
    echo "revoked: $2; now: certificates.sh bundle, and copy revocations.pem to every process"
}

# Lists are valid for 8 days: make them anew at least weekly, or every certificate is refused.
revocations() {
    BAILIWICK_NAMES=none openssl ca -config "$folder/$1/openssl.cnf" -gencrl -out "$folder/$1/revocations.pem.new" \
        2>/dev/null
    mv "$folder/$1/revocations.pem.new" "$folder/$1/revocations.pem"
}

list() {
    known_family "$1"
    have_authority "$1"
    awk -F '\t' '{ print ($1 == "V" ? "good   " : $1 == "R" ? "revoked" : "expired"), "ends", $2, $6 }' \
        "$folder/$1/index.txt"
}

# bundle: what every process is given. An authority of another organisation is there by its public files only.
bundle() {
    : >"$folder/authorities.pem.new"
    : >"$folder/revocations.pem.new"
    for family in storage service workflow legal-review; do
        [ -f "$folder/$family/authority.pem" ] || fail "there is no $folder/$family/authority.pem" \
            "copy it there from its organisation, or make it: certificates.sh authority $family"
        [ ! -f "$folder/$family/private/authority.key" ] || revocations "$family"
        [ -f "$folder/$family/revocations.pem" ] || fail "there is no $folder/$family/revocations.pem" \
            "copy it there from its organisation: without a list of every authority nobody is let in"
        cat "$folder/$family/authority.pem" >>"$folder/authorities.pem.new"
        cat "$folder/$family/revocations.pem" >>"$folder/revocations.pem.new"
    done
    chmod 644 "$folder/authorities.pem.new" "$folder/revocations.pem.new"
    mv "$folder/authorities.pem.new" "$folder/authorities.pem"
    mv "$folder/revocations.pem.new" "$folder/revocations.pem"
    echo "bundle: $folder/authorities.pem, $folder/revocations.pem"
}

verb=${1:-}
[ $# -eq 0 ] || shift
case "$verb $#" in
    "authority 1") authority "$1" ;;
    "issue 3" | "issue 4") issue "$@" ;;
    "renew 2") renew "$@" ;;
    "revoke 2") revoke "$@" ;;
    "list 1") list "$1" ;;
    "bundle 0") bundle ;;
    "-h 0" | "--help 0") usage ;;
    *)
        usage >&2
        exit 2
        ;;
esac

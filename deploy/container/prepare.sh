#!/bin/sh
# Makes the files of the cluster that compose.yaml runs: cluster/<id>/ for each process with its own certificate, key
# and configuration and nothing else, and cluster/clients/ for those who call it. For trying out: all authorities and
# all keys are made on one machine here, which real organisations never do.
#
#   prepare.sh        needs bailiwick and openssl on the path; refuses where cluster/ is already
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
cd "${BAILIWICK_FOLDER:-$here}"
[ ! -e cluster ] || { echo "prepare.sh: there is a cluster/ already; remove it or go on with it" >&2; exit 2; }

export BAILIWICK_TRUST_DOMAIN=bailiwick.example
export BAILIWICK_CERTIFICATES=cluster/authorities
certificates="$here/../certificates/certificates.sh"
regions="eu us br"
# Each jurisdiction lies in one of the regions.
jurisdictions="FR US BR"
region_of() { case $1 in FR) echo eu ;; US) echo us ;; BR) echo br ;; esac; }
authority_of() { case $1 in FR) echo tribunal-paris ;; US) echo court-california ;; BR) echo tribunal-sao-paulo ;; esac; }

mkdir -p cluster
for family in storage service workflow legal-review; do "$certificates" authority $family >&2; done

# folder ID FAMILY ROLE [REGION]: the process's folder with its certificate.
folder() {
    "$certificates" issue "$2" "$3" "$1" ${4:+"$4"} >&2
    mkdir -p "cluster/$1/tls" "cluster/$1/data"
    cp "cluster/authorities/issued/$1.pem" "cluster/$1/tls/own.pem"
    mv "cluster/authorities/issued/$1.key" "cluster/$1/tls/own.key"
    for family in storage service workflow legal-review; do
        cp "cluster/authorities/$family/authority.pem" "cluster/$1/tls/$family.pem"
    done
}

tls() { # [ID]: a client's certificate has its id, a process's is its own
    cat <<END

[tls]
certificate = "tls/${1:-own}.pem"
key = "tls/${1:-own}.key"
authorities = "tls/service.pem"

[[tls.families]]
roles = ["vault"]
authorities = "tls/storage.pem"

[[tls.families]]
roles = ["approver-workflow", "reviewer"]
authorities = "tls/workflow.pem"

[[tls.families]]
roles = ["approver-legal-review", "reviewer"]
authorities = "tls/legal-review.pem"
END
}

nodes() ( # HEADING
    id=0
    for region in $regions; do
        for number in 1 2 3; do
            id=$((id + 1))
            printf '\n[[%s]]\nid = %s\nname = "vault-%s-%s"\nregion = "%s"\naddress = "vault-%s-%s:7411"\n' \
                "$1" $id $region $number $region $region $number
        done
    done
)

key() { bailiwick key generate "$1" --out "$2" | awk '$1 == "public" { print $2 }'; }

number_of_node=0
for region in $regions; do
    for number in 1 2 3; do
        number_of_node=$((number_of_node + 1))
        id=vault-$region-$number
        folder $id storage vault $region
        # It signs what the logs of its region are; approvers follow nobody else.
        note=$(key identity cluster/$id/data/note.key)
        printf '[[jurisdictions.voters]]\nname = "%s"\nkey = "%s"\n\n' "$id" "$note" >>cluster/$region.voters
        {
            printf 'node = %s\nname = "%s"\nregion = "%s"\n' $number_of_node $id $region
            printf 'trust_domain = "bailiwick.example"\ndata = "/var/lib/bailiwick"\n'
            printf 'listen = "0.0.0.0:7411"\nhealth = "0.0.0.0:7421"\n'
            tls
            nodes seeds
            # The regions are far apart.
            printf '\n[raft]\nheartbeat_ms = 150\nelection_min_ms = 500\nelection_max_ms = 900\n'
        } >cluster/$id/vault.toml
    done
done
mkdir -p cluster/clients/policies cluster/clients/keys cluster/clients/tls
nodes nodes >cluster/clients/nodes.toml
seeds='seeds = ["vault-eu-1:7411", "vault-us-1:7411", "vault-br-1:7411"]'
served=$(for code in $jurisdictions; do printf '"%s", ' "$code"; done)

for code in $jurisdictions; do
    sed "s/\"FR\"/\"$code\"/; s/tribunal-paris/$(authority_of "$code")/" "$here/../../config/policies/minimal.toml" \
        >"cluster/clients/policies/$code.toml"
    openssl rand -hex 32 >"cluster/clients/keys/pseudonym-$code.key"
done

# member ROLE SLOT ID ORGANISATION REVIEWER: a process, a person, and their line in every trust file.
member() {
    folder "$3" "$1" "approver-$1"
    "$certificates" issue "$1" reviewer "$5" >&2
    identity=$(key identity "cluster/$3/identity.key")
    reviewer=$(key reviewer "cluster/clients/keys/$5.key")
    {
        printf 'role = "%s"\nslot = %s\nname = "%s"\norganisation = "%s"\n' "$1" "$2" "$3" "$4"
        printf 'trust_domain = "bailiwick.example"\ndata = "/var/lib/bailiwick"\nhealth = "0.0.0.0:7431"\n'
        printf 'identity_key = "identity.key"\ntrust = "trust.toml"\njurisdictions = [%s]\n%s\n' "$served" "$seeds"
        tls
    } >"cluster/$3/approver.toml"
    cat >>"cluster/$1.members" <<END
[[jurisdictions.roster.$1.members]]
slot = $2
name = "$3"
organisation = "$4"
identity = "$identity"
reviewers = [{ person = "$5", key = "$reviewer" }]

END
}
member workflow 1 workflow-1 disclosure-office anna
member workflow 2 workflow-2 disclosure-office ben
member workflow 3 workflow-3 disclosure-office chloe
member legal-review 1 legal-1 outside-counsel dora
member legal-review 2 legal-2 outside-counsel emil
member legal-review 3 legal-3 outside-counsel fay

folder edge-1 service edge
signing=$(key identity cluster/edge-1/signing.key)
{
    printf 'name = "edge-1"\ntrust_domain = "bailiwick.example"\ndata = "/var/lib/bailiwick"\n'
    printf 'listen = "0.0.0.0:7400"\nhealth = "0.0.0.0:7401"\nsigning_key = "signing.key"\ntrust = "trust.toml"\n'
    printf 'unknown = "FR"\n%s\n\n[pseudonym_keys]\n' "$seeds"
    for code in $jurisdictions; do printf '%s = "pseudonym-%s.key"\n' "$code" "$code"; done
    tls
} >cluster/edge-1/edge.toml
for code in $jurisdictions; do cp "cluster/clients/keys/pseudonym-$code.key" cluster/edge-1/; done

for client in backend intake operator auditor recipient; do
    id=$client-1
    [ $client != recipient ] || id=desk-1
    "$certificates" issue service $client $id >&2
done
for client in backend-1 intake-1 operator-1 auditor-1 desk-1 anna ben chloe dora emil fay; do
    cp "cluster/authorities/issued/$client.pem" cluster/clients/tls/
    mv "cluster/authorities/issued/$client.key" cluster/clients/tls/
done
for family in storage service workflow legal-review; do
    cp cluster/authorities/$family/authority.pem cluster/clients/tls/$family.pem
done
bailiwick key generate recipient --out cluster/clients/keys/desk-1.key --name desk-1 \
    --certificate cluster/clients/tls/desk-1.pem >&2
echo "$signing" >cluster/clients/keys/edge-1.pub

# profile ID LINES [SECTIONS]: for `docker compose run --rm client --profile ID.toml ..`.
profile() {
    {
        printf 'name = "%s"\ntrust_domain = "bailiwick.example"\n%s\n' "$1" "$2"
        tls "$1"
        printf '\n%s\n' "${3:-}"
    } >"cluster/clients/$1.toml"
}
trusting=$(printf '%s\ntrust = "trust.toml"\npolicies = "policies"' "$seeds")
pseudonyms=$(echo '[pseudonym_keys]' && for code in $jurisdictions; do
    printf '%s = "keys/pseudonym-%s.key"\n' "$code" "$code"
done)
reviewer() { # PERSON ROLE SLOT
    profile "$1" "$trusting" "$(printf '[reviewer]\nrole = "%s"\nslot = %s\nperson = "%s"\nkey = "keys/%s.key"' \
        "$2" "$3" "$1" "$1")"
}
profile backend-1 'edge = "https://edge-1:7400"'
profile intake-1 "$trusting" "$pseudonyms"
profile operator-1 "$trusting"
profile auditor-1 "$trusting" "$pseudonyms"
profile desk-1 "$(printf '%s\nrecipient_key = "keys/desk-1.key"' "$trusting")"
reviewer anna workflow 1
reviewer ben workflow 2
reviewer chloe workflow 3
reviewer dora legal-review 1
reviewer emil legal-review 2
reviewer fay legal-review 3

for code in $jurisdictions; do
    digest=$(bailiwick config check "cluster/clients/policies/$code.toml" | sed -n 's/.*digest //p')
    cat <<END
[[jurisdictions]]
jurisdiction = "$code"
origin = "bailiwick.example/$code"
budget = { records_per_request = 1000, records_per_day = 10000 }

$(cat "cluster/$(region_of "$code").voters")

[jurisdictions.roster.workflow]
needed = 2

$(cat cluster/workflow.members)

[jurisdictions.roster.legal-review]
needed = 2

$(cat cluster/legal-review.members)

[[jurisdictions.recipients]]
$(cat cluster/clients/keys/desk-1.card.toml)
authorities = ["$(authority_of "$code")"]

[[jurisdictions.edges]]
name = "edge-1"
key = "$signing"

[[jurisdictions.policies]]
jurisdiction = "$code"
path = "policies/$code.toml"
digest = "$digest"

END
done >cluster/clients/trust.toml
rm cluster/*.members cluster/*.voters
for id in workflow-1 workflow-2 workflow-3 legal-1 legal-2 legal-3 edge-1; do
    cp cluster/clients/trust.toml cluster/$id/trust.toml
    cp -R cluster/clients/policies cluster/$id/policies
done

# A service's own file is checked where it runs: here its ports may be in use by something else.
for file in cluster/clients/*-1.toml cluster/clients/anna.toml cluster/clients/fay.toml cluster/clients/trust.toml; do
    bailiwick config check "$file" >&2
done
# The services run as who owns these files; compose reads it from here.
echo "BAILIWICK_USER=$(id -u):$(id -g)" >.env
echo "cluster/ is ready: docker compose up --detach"

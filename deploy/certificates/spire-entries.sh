#!/bin/sh
# The names of a three-node cluster as SPIRE registration entries: a path per process, a selector per workload.
#
#   spire-entries.sh             prints the commands
#   spire-entries.sh | sh        runs them, where spire-server is
#
# BAILIWICK_TRUST_DOMAIN is the server's trust domain. The selectors are those of the manifests in ../kubernetes; on
# machines of their own use unix:user:bailiwick and one node alias per machine. Committee members are not here: their
# organisations have issuers of their own (see README.md).
set -eu
domain=${BAILIWICK_TRUST_DOMAIN:-bailiwick.example}

# entry PATH NODE SELECTOR..: 24 hours each, renewed by the agent at half of it.
entry() {
    path=$1
    node=$2
    shift 2
    printf 'spire-server entry create -spiffeID spiffe://%s/%s -parentID spiffe://%s/node/%s -x509SVIDTTL 86400' \
        "$domain" "$path" "$domain" "$node"
    for selector in "$@"; do printf ' -selector %s' "$selector"; done
    echo
}

for number in 1 2 3; do
    entry "vault/eu/vault-$number" "eu-$number" k8s:ns:bailiwick k8s:sa:bailiwick-vault \
        "k8s:pod-label:statefulset.kubernetes.io/pod-name:vault-eu-$((number - 1))"
done
entry edge/edge-1 eu-1 k8s:ns:bailiwick k8s:sa:bailiwick-edge
entry intake/intake-1 eu-1 k8s:ns:disclosure k8s:sa:intake
entry backend/backend-1 eu-1 k8s:ns:accounts k8s:sa:backend

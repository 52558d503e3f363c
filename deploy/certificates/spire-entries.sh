#!/bin/sh
# The names of ../kubernetes as SPIRE registration entries: a path per process, a selector per workload.
#
#   spire-entries.sh             prints the commands
#   spire-entries.sh | sh        runs them, where spire-server is
#
# BAILIWICK_TRUST_DOMAIN is the server's trust domain. The nodes of a region share the alias node/<region>; on machines of
# their own use an alias per machine and the selector unix:user:bailiwick. Committee members are not here: their
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

for region in eu us; do
    for ordinal in 0 1 2; do
        pod=vault-$region-$ordinal
        entry "vault/$region/$pod" "$region" k8s:ns:bailiwick \
            "k8s:pod-label:statefulset.kubernetes.io/pod-name:$pod"
    done
done
for pod in edge-0 edge-1; do
    entry "edge/$pod" eu k8s:ns:bailiwick "k8s:pod-label:statefulset.kubernetes.io/pod-name:$pod"
done
entry intake/intake-1 eu k8s:ns:disclosure k8s:sa:intake
entry backend/backend-1 eu k8s:ns:accounts k8s:sa:backend

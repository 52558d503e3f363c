#!/usr/bin/env python3
"""A second implementation of roster updates, erasure, hold and order, to check keys_and_time.json against.

Written from docs/cryptography.md sections 7, 10 and 11; the primitives are those of check.py beside it.
Encodings, digests, contexts and capsules are recomputed from the fields and secrets, signatures are
verified. HPKE is skipped, as in check.py: its contexts and plaintexts are checked. The session's keys
come from suite1.json, which is of the same world.

    python3 docs/vectors/check_time.py [docs/vectors/keys_and_time.json]
"""

import json
import pathlib
import sys

sys.dont_write_bytecode = True  # no cache folder beside the vectors

import check
from check import E, H, H_raw, field, gcm_seal, holds, items, mac, same, u8, u16, u32, u64, un, verify

HERE = pathlib.Path(__file__).parent


def member(m):
    return E(u8(m["slot"]), m["organisation"].encode(), m["name"].encode(), un(m["identity"]),
             items([E(un(r)) for r in m["reviewers"]]), un(m["documents"]),
             items([E(un(p)) for p in m["periods"]]))


def check_resupply(v, session):
    r = v["resupply"]
    update = E(un(v["certid"]), u32(r["number"]), un(r["previous"]), u8(r["role"]), u8(r["slot"]),
               u8(r["departure"]), items([member(r["successor"])]))
    same("update", update, r["update"])
    digest = H_raw("update", update)
    same("H(update)", digest, r["id"])
    signers = [(s["role"], s["slot"]) for s in r["signatures"]]
    holds("signers in canonical order", signers == sorted(set(signers)))
    holds("the changed slot has no vote", (r["role"], r["slot"]) not in signers)
    for s in r["signatures"]:
        good = verify(un(s["identity"]), "roster", E(digest, u8(s["role"]), u8(s["slot"])),
                      un(s["signature"]))
        holds(f"signature of {s['role']} {s['slot']}", good)
    place = E(un(r["sid"]), digest, u8(r["role"]), u8(r["slot"]), u8(r["holder"]))
    same("resupply info", field(b"resupply") + place, r["info"])
    both = 1 << r["slot"] - 1 | 1 << r["holder"] - 1
    keys = [k for k in session["keys"] if k["role"] == r["role"] and k["holders"] & both == both]
    plaintext = b"".join(E(u8(k["holders"]), un(k["key"])) for k in keys)
    same("re-supplied keys", plaintext, r["plaintext"])
    good = verify(un(r["holder_identity"]), "resupply", place + field(un(r["sealed"])),
                  un(r["signature"]))
    holds("the holder's signature", good)


def check_erasure(v):
    e = v["erasure"]
    place = E(un(v["kid"]), u8(e["role"]), u8(e["slot"]))
    intent = place + field(u64(e["erase_by"]))
    same("intent", intent + field(un(e["intent_signature"])), e["intent"])
    holds("intent signature", verify(un(e["identity"]), "erase", intent, un(e["intent_signature"])))
    signature = un(e["attestation_signature"])
    same("attestation", place + field(signature), e["attestation"])
    holds("attestation signature", verify(un(e["identity"]), "erased", place, signature))


def check_hold(v):
    h = v["hold"]
    lines = [E(un(s["subject"]), bytes(s["kinds"]), u32(s["from"]), u32(s["to"])) for s in h["scope"]]
    order = E(h["jurisdiction"].encode(), items(lines), h["authority"].encode(), h["basis"].encode(),
              h["entered_by"].encode(), u64(h["placed_at"]), u64(h["expires_at"]), un(h["salt"]))
    same("hold order", order, h["order"])
    hold = H_raw("holdorder", order)
    same("hold id", hold, h["id"])
    same("root of the held records", check.merkle([un(c["x"]) for c in h["capsules"]]), h["root"])
    statement = E(hold, u8(1), u64(h["expires_at"]), un(h["root"]))
    for d in h["decisions"]:
        name = f"hold decision {d['role']} {d['slot']}"
        signed, signature = statement + E(u8(d["role"]), u8(d["slot"])), un(d["signature"])
        same(name, signed + E(un(d["reviewer"]), signature), d["decision"])
        holds(name + " signature", verify(un(d["reviewer"]), "hold", signed, signature))
    for number, c in enumerate(h["capsules"]):
        name = f"capsule {number}"
        digest = H("hold", hold, un(v["kid"]), u8(c["role"]), u8(c["slot"]), un(c["x"]))
        same(name + " hash", digest, c["hash"])
        key = mac(un(c["hold_key"]), "hold", digest)
        same(name + " key", key, c["key"])
        plaintext = b"".join(E(u8(x["holders"]), un(x["value"])) for x in c["values"])
        same(name, gcm_seal(key, bytes(12), digest, plaintext), c["sealed"])
    s = h["statement"]
    fields = E(hold, un(v["kid"]), u8(s["role"]), u8(s["slot"]), u32(s["count"]), un(h["root"]))
    same("statement", fields + field(un(s["signature"])), s["statement"])
    holds("statement signature", verify(un(s["identity"]), "capsules", fields, un(s["signature"])))


def check_case(c):
    digest = H_raw("order", E(un(c["order_salt"]), un(c["order"])))
    same("order digest", digest, c["order_digest"])
    clear = E(c["forum"].encode(), c["instrument"].encode(), c["authority"].encode(),
              c["officer"].encode(), digest, u8(c["priority"]))
    at = u64(c["signed_at"])
    holds("officer's signature", verify(un(c["key"]), "order", clear + E(at), un(c["signature"])))
    signature = items([E(un(c["key"]), at, un(c["signature"]))])
    signed = E(c["validator"].encode(), digest, at)
    holds("validation", verify(un(c["validator_key"]), "validate", signed, un(c["validation"])))
    validation = items([signed + E(un(c["validator_key"]), un(c["validation"]))])
    return E(un(c["order"]), un(c["order_salt"]), clear + E(signature), validation,
             un(c["findings"]))


def check_document(v):
    d = v["document"]
    accounts = b"".join(field(a.encode()) for a in d["accounts"])
    attachments = b"".join(field(un(a)) for a in d["attachments"])
    case = items([check_case(d["case"])])
    document = E(d["reference"].encode(), u16(d["pseudonym_version"]), accounts, attachments,
                 un(d["salt"]), case)
    same("document", document, d["document"])
    digest = H_raw("document", document)
    same("document digest", digest, d["digest"])
    same("document info", E(b"documents", un(v["certid"]), digest, u8(d["role"]), u8(d["slot"])), d["info"])


def main():
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "keys_and_time.json"
    v = json.loads(path.read_text())
    suite1 = json.loads((HERE / "suite1.json").read_text())
    check.self_test()
    same("certid of the same world", un(suite1["certificate"]["certid"]), v["certid"])
    same("kid of the same world", un(suite1["session"]["kid"]), v["kid"])
    check_resupply(v, suite1["session"])
    check_erasure(v)
    check_hold(v)
    check_document(v)
    print(f"{check.compared} values agree")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""A second implementation of suite 1, to check the test vectors against (docs/cryptography.md).

It was written from the specification and shares no code with the project: Python's standard library
only, with AES, GCM and Ed25519 written out below. From the secrets in the vectors it recomputes the
encodings, certid, kid, commitments, chains, labels, rho, alpha, x, v, k, ciphertexts, leaves, manifests,
sid, the selection and the members' bodies, verifies the signatures, opens the records from the partials
and compares. HPKE is skipped (ML-KEM is no small script): its contexts and plaintexts are checked, the
sealed parts are taken as they are; the Rust test hpke_kem_vectors holds it to xwing.json. Slow and not constant-time: for checking only.

    python3 docs/vectors/check.py [docs/vectors/suite1.json]
"""

import hashlib
import hmac
import itertools
import json
import pathlib
import struct
import sys

# --- encoding, hashes, MACs (section 3) ---


def field(data):
    return struct.pack(">I", len(data)) + data


def E(*fields):
    return b"".join(field(f) for f in fields)


def u8(n):
    return struct.pack(">B", n)


def u16(n):
    return struct.pack(">H", n)


def u32(n):
    return struct.pack(">I", n)


def u64(n):
    return struct.pack(">Q", n)


def items(encodings):
    return E(*encodings)


def sha256(data):
    return hashlib.sha256(data).digest()


def H(tag, *fields):
    return sha256(E(("bailiwick/v1/" + tag).encode(), *fields))


def H_raw(tag, encoding):
    """H over fields that are encoded already."""
    return sha256(field(("bailiwick/v1/" + tag).encode()) + encoding)


def hmac256(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def mac(key, tag, x):
    return hmac256(key, tag.encode().ljust(8, b"\0") + x)


def hkdf(salt, ikm, info, length=32):
    assert length <= 32
    return hmac256(hmac256(salt, ikm), info + b"\x01")[:length]


ZERO = bytes(32)

# --- AES-256-GCM (FIPS 197, SP 800-38D) ---


def _xtime(a):
    return ((a << 1) ^ 0x11B if a & 0x80 else a << 1) & 0xFF


def _sbox():
    exp, log, a = [0] * 255, [0] * 256, 1
    for i in range(255):
        exp[i], log[a] = a, i
        a ^= _xtime(a)  # times the generator 3
    box = []
    for value in range(256):
        b = exp[(255 - log[value]) % 255] if value else 0
        out = 0
        for shift in range(5):
            out ^= (b << shift | b >> (8 - shift)) & 0xFF
        box.append(out ^ 0x63)
    return box


SBOX = _sbox()


def aes_schedule(key):
    words = [list(key[i : i + 4]) for i in range(0, 32, 4)]
    rcon = 1
    for i in range(8, 60):
        word = list(words[-1])
        if i % 8 == 0:
            word = [SBOX[b] for b in word[1:] + word[:1]]
            word[0] ^= rcon
            rcon = _xtime(rcon)
        elif i % 8 == 4:
            word = [SBOX[b] for b in word]
        words.append([a ^ b for a, b in zip(words[i - 8], word)])
    return [sum(words[i : i + 4], []) for i in range(0, 60, 4)]


def aes_block(schedule, block):
    state = [a ^ b for a, b in zip(block, schedule[0])]
    for number, round_key in enumerate(schedule[1:], 1):
        state = [SBOX[b] for b in state]
        state = [state[(i + 4 * (i % 4)) % 16] for i in range(16)]
        if number < 14:
            mixed = []
            for c in range(0, 16, 4):
                col = state[c : c + 4]
                total = col[0] ^ col[1] ^ col[2] ^ col[3]
                mixed += [col[i] ^ total ^ _xtime(col[i] ^ col[(i + 1) % 4]) for i in range(4)]
            state = mixed
        state = [a ^ b for a, b in zip(state, round_key)]
    return bytes(state)


def ghash_times(x, y):
    product = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            product ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return product


def gcm_seal(key, nonce, aad, message):
    schedule = aes_schedule(key)
    h = int.from_bytes(aes_block(schedule, bytes(16)), "big")
    out = bytearray()
    for at in range(0, len(message), 16):
        stream = aes_block(schedule, nonce + u32(2 + at // 16))
        out += bytes(a ^ b for a, b in zip(message[at : at + 16], stream))
    pad = lambda data: data + bytes(-len(data) % 16)
    authed = pad(aad) + pad(bytes(out)) + u64(8 * len(aad)) + u64(8 * len(out))
    y = 0
    for at in range(0, len(authed), 16):
        y = ghash_times(y ^ int.from_bytes(authed[at : at + 16], "big"), h)
    tag = y ^ int.from_bytes(aes_block(schedule, nonce + u32(1)), "big")
    return bytes(out) + tag.to_bytes(16, "big")


def gcm_open(key, nonce, aad, sealed):
    body = sealed[:-16]
    message = gcm_seal(key, nonce, aad, body)[:-16]
    return message if gcm_seal(key, nonce, aad, message) == sealed else None


# --- Ed25519 verification (RFC 8032 section 5.1.7) ---

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def point_add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def point_times(n, p):
    q = (0, 1, 1, 0)
    while n:
        if n & 1:
            q = point_add(q, p)
        p, n = point_add(p, p), n >> 1
    return q


def point_read(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - x2) % P:
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


BASE = point_read((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def verify(public, tag, encoding, signature):
    """Sig(sk, T, ..) is Ed25519 over H("sig/" + T, ..)."""
    message = H_raw("sig/" + tag, encoding)
    a, r, s = point_read(public), point_read(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = point_times(s, BASE), point_add(r, point_times(k, a))
    same = lambda i: (left[i] * right[2] - right[i] * left[2]) % P == 0
    return same(0) and same(1)


# --- comparing ---

compared = 0


def same(what, made, given):
    global compared
    compared += 1
    if isinstance(given, str):
        given = bytes.fromhex(given)
    if made != given:
        sys.exit(f"{what}: differs\n  made  {made.hex() if isinstance(made, bytes) else made}\n"
                 f"  given {given.hex() if isinstance(given, bytes) else given}")


def holds(what, condition):
    global compared
    compared += 1
    if not condition:
        sys.exit(f"{what}: does not hold")


un = bytes.fromhex
ROLES = {1: "workflow", 2: "legal_review"}


def holder_sets(committee):
    size = committee["n"] - committee["t"] + 1
    return [m for m in range(1, 1 << committee["n"]) if bin(m).count("1") == size]


# --- section 4: the certificate ---


def check_certificate(c):
    def committee(value):
        members = [
            E(u8(m["slot"]), m["organisation"].encode(), m["name"].encode(), un(m["identity"]),
              items(E(un(k)) for k in m["reviewers"]), un(m["documents"]),
              items(E(un(k)) for k in m["periods"]))
            for m in value["members"]
        ]
        return E(u8(value["t"]), u8(value["n"]), items(members))

    body = E(u8(1), c["jurisdiction"].encode(), u64(c["not_before"]), u64(c["not_after"]),
             items(E(*map(u64, p)) for p in c["periods"]),
             committee(c["workflow"]), committee(c["legal_review"]))
    certid = H_raw("cert", body)
    same("certid", certid, c["certid"])
    for d, kid in enumerate(c["kids"]):
        same(f"kid {d}", H("period", certid, u16(d)), kid)
    members = [m for role in ROLES.values() for m in c[role]["members"]]
    holds("one signature a member", len(members) == len(c["signatures"]))
    for m, signature in zip(members, c["signatures"]):
        good = verify(un(m["identity"]), "cert", E(certid), un(signature))
        holds(f"certificate signature of {m['name']}", good)


# --- section 5: the session ---


def check_session(s, c):
    kid, nonce = un(s["kid"]), un(s["nonce"])
    same("kid of the session", kid, c["kids"][0])
    canonical = [(r, a) for r in ROLES for a in holder_sets(c[ROLES[r]])]
    holds("keys in canonical order", [(k["role"], k["holders"]) for k in s["keys"]] == canonical)
    commitments = []
    for k in s["keys"]:
        z = H("ctx", kid, nonce, u8(k["role"]), u8(k["holders"]))
        commitment = mac(un(k["key"]), "com", z)
        same(f"commitment {k['role']} {k['holders']}", commitment, k["commitment"])
        commitments.append(E(u8(k["role"]), u8(k["holders"]), commitment))
    edge = s["edge"].encode()
    edge_certificate = H("edgecert", edge, un(s["edge_key"]))
    same("edge certificate hash", edge_certificate, s["edge_certificate"])
    hb = E(u8(1), kid, c["jurisdiction"].encode(), u16(s["partition"]), edge, edge_certificate, nonce,
           u64(s["opened_at"]), u64(s["expires_at"]), u16(s["max_block"]), items(commitments))
    body_hash = H_raw("hb", hb)
    same("H(hb)", body_hash, s["body_hash"])
    parts = []
    for p in s["parts"]:
        name = f"part {p['role']} {p['slot']}"
        same(name + " info", E(b"part", body_hash, u8(p["role"]), u8(p["slot"])), p["info"])
        held = [k for k in s["keys"] if k["role"] == p["role"] and k["holders"] >> p["slot"] - 1 & 1]
        same(name, b"".join(E(u8(k["holders"]), un(k["key"])) for k in held), p["plaintext"])
        parts.append(E(u8(p["role"]), u8(p["slot"]), un(p["sealed"])))
    sid = H("sid", hb, items(parts))
    same("sid", sid, s["sid"])
    holds("header signature", verify(un(s["edge_key"]), "hdr", E(sid), un(s["signature"])))
    return sid


def block_key(key, z, block):
    chain = mac(key, "root", z)
    for _ in range(block):
        chain = mac(chain, "next", ZERO)
    return mac(chain, "blk", ZERO)


# --- section 6: blocks and records ---


def node(a, b):
    return sha256(b"\x01" + a + b)


def merkle(leaves):
    """RFC 6962 section 2.1, over leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return node(merkle(leaves[:split]), merkle(leaves[split:]))


def check_blocks(v, sid):
    s, c = v["session"], v["certificate"]
    context = lambda role, holders: H("ctx", un(s["kid"]), un(s["nonce"]), u8(role), u8(holders))
    previous, records = ZERO, []
    for number, block in enumerate(v["blocks"]):
        same(f"number of block {number}", number, block["block"])
        keys = [block_key(un(k["key"]), context(k["role"], k["holders"]), number) for k in s["keys"]]
        rho_key = block_key(un(s["rho_key"]), context(0, 0), number)
        leaves, wire = [], b""
        for i, r in enumerate(block["records"]):
            name = f"block {number} record {i}"
            same(name + " index", i, r["index"])
            label = E(sid, u16(number), u16(i), c["jurisdiction"].encode(), s["edge"].encode(),
                      un(r["record"]), u16(block["pseudonym_version"]), un(r["subject"]),
                      u8(r["category"]), u32(r["minute"]))
            same(name + " label", label, r["label"])
            padded = un(r["padded"])
            rho = mac(rho_key, "rho", H("lp", label, padded))
            same(name + " rho", rho, r["rho"])
            alpha = H("alpha", label, rho, padded)
            same(name + " alpha", alpha, r["alpha"])
            x = H("x", label, alpha)
            same(name + " x", x, r["x"])
            values = [mac(key, "prf", x) for key in keys]
            holds(name + " count of values", len(values) == len(r["values"]))
            for made, given in zip(values, r["values"]):
                same(name + " value", made, given)
            key = hkdf(sid, b"".join(values), E(b"rec", x))
            same(name + " key", key, r["key"])
            ciphertext = gcm_seal(key, bytes(12), x, rho + padded)
            same(name + " ciphertext", ciphertext, r["ciphertext"])
            leaf = H("leaf", u16(i), label, alpha, sha256(ciphertext))
            same(name + " leaf", leaf, r["leaf"])
            leaves.append(leaf)
            wire += (u8(r["category"]) + un(r["record"]) + un(r["subject"]) + u32(r["minute"])
                     + alpha + ciphertext)
            records.append((x, label, alpha, ciphertext, r["category"], number, values, padded))
        root = merkle(leaves)
        same(f"block {number} root", root, block["root"])
        same(f"block {number} previous", previous, block["previous"])
        count = u16(len(leaves))
        manifest = E(sid, u16(number), count, root, previous, u64(block["edge_time"]))
        same(f"block {number} manifest", manifest, block["manifest"])
        good = verify(un(s["edge_key"]), "man", manifest, un(block["signature"]))
        holds(f"block {number} signature", good)
        head = (sid + u16(number) + count + root + previous + u64(block["edge_time"])
                + un(block["signature"]) + u16(block["pseudonym_version"]))
        same(f"block {number} wire", head + wire, block["wire"])
        previous = H_raw("man", manifest)
        same(f"block {number} manifest hash", previous, block["manifest_hash"])
    return records


# --- sections 7 to 9: selection, partials, opening ---


def check_selection(selection, records):
    request, root = un(selection["request"]), merkle([r[0] for r in records])
    same("selection root", root, selection["root"])
    phones = sum(r[4] == 1 for r in records)
    same("selection count", len(records), selection["count"])
    same("selection phones", phones, selection["phones"])
    same("selection id", H("selection", request, u32(len(records)), u32(phones), root), selection["id"])
    return request


def check_partials(v, records, request):
    """Recomputes each member's body; what it answers, by (role, slot) and record."""
    s, answers = v["session"], {}
    for p in v["partials"]:
        name = f"partial {p['role']} {p['slot']}"
        held = [i for i, k in enumerate(s["keys"])
                if k["role"] == p["role"] and k["holders"] >> p["slot"] - 1 & 1]
        place = E(request, u64(p["leaf_index"]), un(s["kid"]), u8(p["role"]), u8(p["slot"]), u32(0))
        same(name + " info", field(b"rel") + place, p["info"])
        rows = []
        for index, record in enumerate(records):
            given = [(s["keys"][i]["holders"], record[6][i]) for i in held]
            rows.append(E(u32(index), b"".join(E(u8(a), value) for a, value in given)))
            answers[p["role"], p["slot"], index] = dict(given)
        body = E(place, un(v["selection"]["id"]), u32(p["roster"]), items(rows))
        same(name + " body", body, p["body"])
        member = v["certificate"][ROLES[p["role"]]]["members"][p["slot"] - 1]
        good = verify(un(member["identity"]), "rel", field(b"partial") + body, un(p["signature"]))
        holds(name + " signature", good)
    return answers


def check_opening(v, sid, records, answers):
    for index, (x, label, alpha, ciphertext, category, _, _, padded) in enumerate(records):
        values = b""
        for role, name in ROLES.items():
            slots = [p["slot"] for p in v["partials"] if p["role"] == role]
            subset = next(itertools.combinations(slots, v["certificate"][name]["t"]))
            for holders in holder_sets(v["certificate"][name]):
                lowest = next(m for m in subset if holders >> m - 1 & 1)
                values += answers[role, lowest, index][holders]
        opened = gcm_open(hkdf(sid, values, E(b"rec", x)), bytes(12), x, ciphertext)
        holds(f"record {index} opens", opened is not None)
        same(f"record {index} alpha", H("alpha", label, opened[:32], opened[32:]), alpha)
        given = v["opened"][index]
        same(f"opened {index} number", index, given["index"])
        same(f"opened {index} kind", {1: "phone", 2: "ip"}[category].encode(), given["kind"].encode())
        same(f"opened {index}", opened[32:], given["padded"])
        same(f"opened {index} is what was sealed", opened[32:], padded)


def self_test():
    """FIPS 197 appendix C.3 and test case 16 of the GCM submission: the primitives themselves."""
    schedule = aes_schedule(bytes(range(32)))
    block = aes_block(schedule, un("00112233445566778899aabbccddeeff"))
    same("AES-256", block, "8ea2b7ca516745bfeafc49904b496089")
    key = un("feffe9928665731c6d6a8f9467308308" * 2)
    message = un("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                 "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39")
    aad = un("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    sealed = gcm_seal(key, un("cafebabefacedbaddecaf888"), aad, message)
    same("AES-256-GCM tag", sealed[-16:], "76fc6ece0f4e1768cddf8853bb2d551b")
    same("SHA-256 of E", sha256(E(b"a", b"")), sha256(b"\0\0\0\1a\0\0\0\0"))


def main():
    here = pathlib.Path(__file__).parent
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / "suite1.json"
    v = json.loads(path.read_text())
    self_test()
    check_certificate(v["certificate"])
    sid = check_session(v["session"], v["certificate"])
    records = check_blocks(v, sid)
    request = check_selection(v["selection"], records)
    answers = check_partials(v, records, request)
    check_opening(v, sid, records, answers)
    print(f"{compared} values agree")


if __name__ == "__main__":
    main()

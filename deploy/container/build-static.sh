#!/bin/sh
# Builds one program that needs nothing of the system that it runs on: no shared library, no loader. Run it in the
# repository; it prints where the program is.
#
# It links glibc statically. A musl target would do as well where its standard library is installed:
#     BAILIWICK_TARGET=x86_64-unknown-linux-musl build-static.sh
set -eu
target=${BAILIWICK_TARGET:-$(rustc -vV | sed -n 's/^host: //p')}
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
export RUSTFLAGS
# Naming the target keeps the flag from build scripts and procedural macros, which must be dynamic.
cargo build --release --locked --package bailiwick-cli --target "$target" >&2
program=${CARGO_TARGET_DIR:-target}/$target/release/bailiwick
# The loader that a dynamic program asks for is named in its program headers.
if LC_ALL=C grep --quiet --text 'ld-linux\|ld-musl' "$program" && readelf -l "$program" | grep --quiet INTERP; then
    echo "build-static.sh: $program asks for a loader: it is not static" >&2
    exit 1
fi
echo "$program"

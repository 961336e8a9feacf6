//! The fuzz targets over their seeds, and over arbitrary bytes in every field this crate reads.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::targets;

const READ: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "age",
    "authorization",
    "cache-control",
    "cdn-cache-control",
    "connection",
    "content-length",
    "content-location",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expires",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "pragma",
    "range",
    "set-cookie",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-http-method-override",
];

/// Sections of field lines as the targets take them, each after a target or a length.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    // Values hold no other control characters than the tab, and no line break.
    let byte = prop_oneof![3 => select(&b"\"=,;-/:*\\ \t0159aW"[..]), 1 => any::<u8>()];
    let line = (select(READ), vec(byte, 0..24)).prop_map(|(name, mut value)| {
        value.retain(|byte| *byte >= b' ' && *byte != 0x7f || *byte == b'\t');
        [name.as_bytes(), b":", &value, b"\n"].concat()
    });
    let first =
        select(&["", "/\n", "/?a=%zz;b\n", "http://a:80/\n", "7\n", "0\n", "18446744073709551615\n"][..]);
    let section = (first, vec(line, 0..6))
        .prop_map(|(first, lines)| first.as_bytes().iter().copied().chain(lines.concat()).collect());
    vec(section, 1..4).prop_map(|sections: Vec<Vec<u8>>| sections.join(&b"\n"[..]))
}

proptest! {
    #![proptest_config(crate::config_of(10))]

    #[test]
    fn no_bytes_in_any_field_cause_a_panic_or_break_a_property(message in messages()) {
        for (_, run) in targets::ALL {
            run(&message);
        }
    }
}

/// Manifests with a piece of one put into another, or into itself.
fn spliced_manifests() -> impl Strategy<Value = Vec<u8>> {
    let seeds = [
        &include_bytes!("../../fuzz/seeds/manifests/hls")[..],
        include_bytes!("../../fuzz/seeds/manifests/dash"),
        include_bytes!("../../fuzz/seeds/manifests/live"),
    ];
    let place = || any::<prop::sample::Index>();
    let pieces =
        vec((select(seeds.to_vec()), place(), place(), place(), place(), vec(any::<u8>(), 0..4)), 1..4);
    (select(seeds.to_vec()), pieces).prop_map(|(manifest, pieces)| {
        let mut manifest = manifest.to_vec();
        for (other, from, to, first, last, bytes) in pieces {
            let (from, to) = (from.index(other.len()), to.index(other.len()));
            let (first, last) = (first.index(manifest.len() + 1), last.index(manifest.len() + 1));
            let piece = other[from.min(to)..from.max(to)].iter().copied().chain(bytes);
            manifest.splice(first.min(last)..first.max(last), piece);
        }
        manifest
    })
}

proptest! {
    #![proptest_config(crate::config_of(10))]

    #[test]
    fn a_manifest_in_pieces_lists_nothing_of_another_origin(manifest in spliced_manifests()) {
        targets::manifests::run(&manifest);
    }
}

#[test]
fn the_seeds_of_the_fuzz_targets_hold() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for (name, run) in targets::ALL {
        let mut replayed = 0;
        for seed in fs::read_dir(seeds.join(name)).expect("every target has seeds") {
            let seed = seed.expect("a readable folder").path();
            run(&fs::read(&seed).expect("a readable seed"));
            replayed += 1;
        }
        assert!(replayed > 0, "{name} has no seeds");
    }
}

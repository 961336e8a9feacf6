//! A database in MaxMind's format, for tests: [`database`].

/// The smallest database of IPv4: one node, whose left half is at a place and whose right half is nowhere. See
/// <https://maxmind.github.io/MaxMind-DB>.
pub(crate) fn database(latitude: f64, longitude: f64) -> Vec<u8> {
    let nodes = 1;
    // Behind the nodes there are 16 bytes of nothing, and then the data: an address counts from the nodes' end.
    let mut bytes = [nodes + 16, nodes].map(|record: u32| record.to_be_bytes()[1..].to_vec()).concat();
    bytes.extend([0; 16]);
    let location = map(&[("latitude", double(latitude)), ("longitude", double(longitude))]);
    bytes.extend(map(&[("location", location)]));
    bytes.extend(b"\xab\xcd\xefMaxMind.com");
    bytes.extend(map(&[
        ("node_count", long(nodes)),
        ("record_size", short(24)),
        ("ip_version", short(4)),
        ("database_type", text("Test")),
        ("languages", vec![0, 4]),
        ("binary_format_major_version", short(2)),
        ("binary_format_minor_version", short(0)),
        ("build_epoch", [&[8, 2][..], &1_u64.to_be_bytes()].concat()),
        ("description", map(&[])),
    ]));
    bytes
}

fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("so short a text");
    assert!(length < 29);
    [&[2 << 5 | length], text.as_bytes()].concat()
}

fn map(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![7 << 5 | u8::try_from(pairs.len()).expect("so few pairs")];
    for (key, value) in pairs {
        bytes.extend(text(key));
        bytes.extend(value);
    }
    bytes
}

fn double(value: f64) -> Vec<u8> {
    [&[3 << 5 | 8][..], &value.to_be_bytes()].concat()
}

fn short(value: u16) -> Vec<u8> {
    [&[5 << 5 | 2][..], &value.to_be_bytes()].concat()
}

fn long(value: u32) -> Vec<u8> {
    [&[6 << 5 | 4][..], &value.to_be_bytes()].concat()
}

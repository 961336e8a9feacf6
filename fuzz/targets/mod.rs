//! What each fuzz target does with its bytes. `tests/replay.rs` runs the same functions over the seeds, and
//! `tests/oracle` over random bytes.
//!
//! The bytes are field lines, `name: value`, in sections that an empty line separates: seeds stay readable.

pub mod dates;
pub mod directives;
pub mod keys;
pub mod locations;
pub mod manifests;
pub mod ranges;
pub mod tags;
pub mod targeted;
pub mod vary;

use http::{HeaderMap, HeaderName, HeaderValue};

/// A name, which is that of the seeds, and what is done with the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const ALL: [Target; 9] = [
    ("dates", dates::run),
    ("directives", directives::run),
    ("keys", keys::run),
    ("locations", locations::run),
    ("manifests", manifests::run),
    ("ranges", ranges::run),
    ("tags", tags::run),
    ("targeted", targeted::run),
    ("vary", vary::run),
];

fn lines(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|&byte| byte == b'\n')
}

/// The first `N` sections. What cannot be a field is left out.
fn sections<const N: usize>(data: &[u8]) -> [HeaderMap; N] {
    let mut all = lines(data);
    std::array::from_fn(|_| fields(all.by_ref().take_while(|line| !line.is_empty())))
}

fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines.take(64) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (name, value) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]));
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    fields
}

fn value(text: impl AsRef<[u8]>) -> HeaderValue {
    HeaderValue::from_bytes(text.as_ref()).expect("made of bytes a value may have")
}

//! Is a body the one that was promised? (`Content-Length`; `Content-MD5`, `x-amz-checksum-sha256`; `Repr-Digest`, RFC 9530)

use http::HeaderMap;
use http::header::HeaderName;
use md5::Md5;
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};
use sha2::{Digest, Sha256, Sha512};

use super::refusal::Refusal;
use crate::semantics::headers::only_line;
use crate::semantics::length::content_length;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const CHECKSUM_SHA256: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

const BAD_DIGEST: Refusal = Refusal::Malformed("400: a checksum cannot be read\n");
const LENGTH: Refusal = Refusal::Broken("400: the body does not have its Content-Length\n");

/// What the head of a PUT says of its body.
pub(super) struct Promise {
    length: Option<u64>,
    received: u64,
    digests: Vec<(Hash, Vec<u8>)>,
}

enum Hash {
    Md5(Md5),
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Promise {
    pub(super) fn read(request: &HeaderMap) -> Result<Self, Refusal> {
        let mut digests = Vec::new();
        for (name, hash) in
            [(CONTENT_MD5, Hash::Md5(Md5::new())), (CHECKSUM_SHA256, Hash::Sha256(Sha256::new()))]
        {
            if request.contains_key(&name) {
                let digest = only_line(request, &name).and_then(|value| base64(value.as_bytes()));
                digests.push((hash, digest.ok_or(BAD_DIGEST)?));
            }
        }
        if request.contains_key(REPR_DIGEST) {
            let lines: Vec<_> = request.get_all(REPR_DIGEST).iter().map(|line| line.as_bytes()).collect();
            digests.extend(representation_digests(&lines.join(&b", "[..]))?);
        }
        // A digest of another length is none of this kind.
        if digests.iter().any(|(hash, digest)| hash.length() != digest.len()) {
            return Err(BAD_DIGEST);
        }
        let length =
            content_length(request).map_err(|_| Refusal::Malformed("400: Content-Length is no number\n"))?;
        Ok(Self { length, received: 0, digests })
    }

    /// The length of the body, if it was told.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Takes note of the next bytes of the body.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.received = self.received.saturating_add(bytes.len() as u64);
        if self.length.is_some_and(|length| self.received > length) {
            return Err(LENGTH);
        }
        for (hash, _) in &mut self.digests {
            hash.update(bytes);
        }
        Ok(())
    }

    /// Whether the body, now that it has ended, is what was promised.
    pub(super) fn kept(self) -> Result<(), Refusal> {
        if self.length.is_some_and(|length| self.received != length) {
            return Err(LENGTH);
        }
        if self.digests.into_iter().all(|(hash, promised)| hash.finish() == promised) {
            Ok(())
        } else {
            Err(Refusal::Broken("400: the body does not have its checksum\n"))
        }
    }
}

impl Hash {
    fn length(&self) -> usize {
        match self {
            Self::Md5(_) => 16,
            Self::Sha256(_) => 32,
            Self::Sha512(_) => 64,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Md5(hash) => hash.finalize().to_vec(),
            Self::Sha256(hash) => hash.finalize().to_vec(),
            Self::Sha512(hash) => hash.finalize().to_vec(),
        }
    }
}

/// The digests of a `Repr-Digest` that can be computed here. The others are ignored, as RFC 9530 §2 allows.
fn representation_digests(value: &[u8]) -> Result<Vec<(Hash, Vec<u8>)>, Refusal> {
    let members = Parser::new(value).parse::<Dictionary>().map_err(|_| BAD_DIGEST)?;
    let mut digests = Vec::new();
    for (algorithm, member) in members {
        let hash = match algorithm.as_str() {
            "sha-256" => Hash::Sha256(Sha256::new()),
            "sha-512" => Hash::Sha512(Sha512::new()),
            _ => continue,
        };
        let ListEntry::Item(Item { bare_item: BareItem::ByteSequence(digest), .. }) = member else {
            return Err(BAD_DIGEST);
        };
        digests.push((hash, digest));
    }
    Ok(digests)
}

/// What stands in base64: a byte sequence of a structured field without its colons (RFC 9651 §3.3.5).
fn base64(value: &[u8]) -> Option<Vec<u8>> {
    let field = [b":", value.trim_ascii(), b":"].concat();
    match Parser::new(&field).parse::<Item>().ok()?.bare_item {
        BareItem::ByteSequence(bytes) => Some(bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};

    use super::*;

    const MD5: &str = "XUFAKrxLKna5cZ2REBfFkg==";
    const SHA256: &str = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
    const SHA256_FIELD: &str = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
    const SHA512_FIELD: &str =
        "sha-512=:m3HSJL1i83hdltRq0+o9czGb+8KJDKra4t/3JRlnPKcjI8PZm6XBHXx6zG4UuMXaDEZjR1wuXDre9G9zvN7AQw==:";

    /// The status that a PUT of `hello` is refused with.
    fn refused(lines: &[(&'static str, &str)]) -> Option<StatusCode> {
        let mut request = HeaderMap::new();
        for (name, value) in lines {
            request.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let read = Promise::read(&request).and_then(|mut promise| {
            promise.receive(b"hel")?;
            promise.receive(b"lo")?;
            promise.kept()
        });
        read.err().map(Refusal::status)
    }

    #[test]
    fn a_body_is_stored_that_keeps_every_promise() {
        for lines in [
            &[][..],
            &[("content-length", "5")],
            &[("content-length", "5"), ("content-length", "5")],
            &[("content-md5", MD5)],
            &[("x-amz-checksum-sha256", SHA256)],
            &[("repr-digest", SHA256_FIELD)],
            &[("repr-digest", SHA512_FIELD)],
            &[("repr-digest", SHA512_FIELD), ("repr-digest", SHA256_FIELD), ("content-md5", MD5)],
            &[("repr-digest", "md5=:AAAA:, unixsum=:AAAA:")],
        ] {
            assert_eq!(refused(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn a_body_is_refused_that_breaks_one() {
        let zeros = format!("sha-256=:{}=:", "A".repeat(43));
        for lines in [
            &[("content-length", "4")][..],
            &[("content-length", "6")],
            &[("content-length", "+5")],
            &[("content-length", "five")],
            &[("content-length", "5"), ("content-length", "6")],
            &[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")],
            &[("content-md5", "AAAA")],
            &[("content-md5", "not base64")],
            &[("content-md5", "")],
            &[("content-md5", MD5), ("content-md5", MD5)],
            &[("x-amz-checksum-sha256", MD5)],
            &[("repr-digest", &zeros)],
            &[("repr-digest", SHA512_FIELD), ("repr-digest", &zeros)],
            &[("repr-digest", "sha-256=5")],
            &[("repr-digest", "sha-256")],
            &[("repr-digest", "=")],
        ] {
            assert_eq!(refused(lines), Some(StatusCode::BAD_REQUEST), "{lines:?}");
        }
    }
}

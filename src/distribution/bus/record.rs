//! What stands in a log: [`Record`], and how it is written down.
//!
//! # The form
//!
//! One byte with the version, which is 1; the fields; and in eight bytes, as all fixed numbers in little-endian order, the
//! 64-bit FNV-1a hash of all before it. Other numbers are LEB128 of the shortest form; a text or a string of bytes has its
//! length in front.
//!
//! | field | form |
//! |---|---|
//! | id | eight bytes |
//! | created | number: milliseconds since 1970 |
//! | flags | one byte: 1 soft, 2 with a reference |
//! | author, and reference if there is one | texts of at most 256 bytes |
//! | paths and wildcards it counts for | numbers; no paths if writes through an edge made it |
//! | scopes | their number, then each: one byte with its kind, and its parts |
//! | paths and URLs with a query | the same |
//!
//! A scope names parts of a cache key as the key has them, so the version changes when the key does. A record of another
//! version, with anything too much or too little, is not read in part: whoever finds one invalidates everything.

use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

use crate::invalidation::{Invalidation, Prefix, Queried, Scope};

const VERSION: u8 = 1;
/// The largest record, in bytes.
const MAX_RECORD: usize = 1 << 20;
pub(super) const MAX_NAME: usize = 256;
const SOFT: u8 = 1;
const REFERENCE: u8 = 2;

/// An invalidation in a log: what, by whom, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    id: u64,
    author: String,
    created: SystemTime,
    invalidation: Invalidation,
}

/// Why a record cannot be written, or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// It would take more than 1 MiB.
    TooLarge,
    /// Its author's name or its reference is longer than 256 bytes.
    LongName,
    /// It names nothing.
    Empty,
    /// It is of a version that this program does not know.
    Version(u8),
    /// It is not as it was written, or was written by something else.
    Corrupt,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "the invalidation takes more than {MAX_RECORD} bytes in the log"),
            Self::LongName => write!(f, "an author's name or a reference is longer than {MAX_NAME} bytes"),
            Self::Empty => f.write_str("the invalidation names nothing"),
            Self::Version(version) => write!(f, "a record of version {version}, which is not known here"),
            Self::Corrupt => f.write_str("a record that is not well-formed"),
        }
    }
}

impl Error for RecordError {}

impl Record {
    /// An invalidation as `author` makes it. `id` tells it from every other.
    ///
    /// # Errors
    /// If it names nothing, or cannot be written within the limits.
    pub fn new(
        id: u64,
        author: impl Into<String>,
        created: SystemTime,
        invalidation: Invalidation,
    ) -> Result<Self, RecordError> {
        let record = Self { id, author: author.into(), created: whole_millis(created), invalidation };
        if record.invalidation.scopes.is_empty() {
            return Err(RecordError::Empty);
        }
        let names = [record.author.as_str(), record.reference().unwrap_or_default()];
        if names.iter().any(|name| name.len() > MAX_NAME) {
            return Err(RecordError::LongName);
        }
        if record.encode().len() > MAX_RECORD {
            return Err(RecordError::TooLarge);
        }
        Ok(record)
    }

    /// What tells it from every other.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Who made it.
    pub fn author(&self) -> &str {
        &self.author
    }

    /// When, to the millisecond.
    pub fn created(&self) -> SystemTime {
        self.created
    }

    /// The caller's reference. There is one record of each in a log.
    pub fn reference(&self) -> Option<&str> {
        self.invalidation.reference.as_deref()
    }

    /// What is cleared.
    pub fn invalidation(&self) -> &Invalidation {
        &self.invalidation
    }

    /// The same.
    pub fn into_invalidation(self) -> Invalidation {
        self.invalidation
    }

    /// As it is written into a log.
    pub fn encode(&self) -> Vec<u8> {
        let Invalidation { scopes, queries, paths, wildcards, soft, reference } = &self.invalidation;
        let mut out = Writer(vec![VERSION]);
        out.0.extend_from_slice(&self.id.to_le_bytes());
        out.number(millis(self.created));
        let flag = |set: bool, flag| if set { flag } else { 0 };
        out.0.push(flag(*soft, SOFT) | flag(reference.is_some(), REFERENCE));
        out.bytes(self.author.as_bytes());
        if let Some(reference) = reference {
            out.bytes(reference.as_bytes());
        }
        out.number(*paths);
        out.number(*wildcards);
        out.number(scopes.len() as u64);
        scopes.iter().for_each(|scope| out.scope(scope));
        out.number(queries.len() as u64);
        queries.iter().for_each(|query| out.query(query));
        let hash = fnv(&out.0);
        out.0.extend_from_slice(&hash.to_le_bytes());
        out.0
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        match bytes.first() {
            None => return Err(RecordError::Corrupt),
            Some(&VERSION) => {}
            Some(version) => return Err(RecordError::Version(*version)),
        }
        if bytes.len() > MAX_RECORD {
            return Err(RecordError::TooLarge);
        }
        let record = bytes.split_last_chunk().and_then(|(fields, hash)| {
            (fnv(fields) == u64::from_le_bytes(*hash)).then_some(())?;
            let mut input = Reader(fields.get(1..)?);
            let record = input.record()?;
            input.0.is_empty().then_some(record)
        });
        record.ok_or(RecordError::Corrupt)
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Ends in the year 9999, which every `SystemTime` can hold.
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX).min(MAX_MILLIS)
}

const MAX_MILLIS: u64 = 253_402_300_799_999;

fn whole_millis(time: SystemTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis(time))
}

/// FNV-1a, which is the same in every program.
pub(super) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn parts(&mut self, kind: u8, parts: &[&[u8]]) {
        self.0.push(kind);
        parts.iter().for_each(|part| self.bytes(part));
    }

    fn scope(&mut self, scope: &Scope) {
        match scope {
            Scope::Uri(uri) => self.parts(0, &[uri]),
            Scope::Path(path) => self.parts(1, &[path]),
            Scope::Prefix(Prefix { authority: None, text }) => self.parts(2, &[text.as_bytes()]),
            Scope::Prefix(Prefix { authority: Some(authority), text }) => {
                self.parts(3, &[authority, text.as_bytes()]);
            }
            Scope::Label(label) => self.parts(4, &[label]),
            Scope::All => self.parts(5, &[]),
        }
    }

    fn query(&mut self, query: &Queried) {
        match query {
            Queried::Path { host: None, path } => self.parts(0, &[path.as_bytes()]),
            Queried::Path { host: Some(host), path } => self.parts(1, &[host.as_bytes(), path.as_bytes()]),
            Queried::Url(url) => self.parts(2, &[url.to_string().as_bytes()]),
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn record(&mut self) -> Option<Record> {
        let id = u64::from_le_bytes(*self.chunk()?);
        let created = self.number().filter(|millis| *millis <= MAX_MILLIS)?;
        let flags = self.byte().filter(|flags| flags & !(SOFT | REFERENCE) == 0)?;
        let author = self.name()?;
        let reference = if flags & REFERENCE != 0 { Some(self.name()?) } else { None };
        let (paths, wildcards) = (self.number()?, self.number()?);
        let scopes = self.list(Self::scope)?;
        let queries = self.list(Self::query)?;
        if scopes.is_empty() {
            return None;
        }
        let created = SystemTime::UNIX_EPOCH + Duration::from_millis(created);
        let soft = flags & SOFT != 0;
        let invalidation = Invalidation { scopes, queries, paths, wildcards, soft, reference };
        Some(Record { id, author, created, invalidation })
    }

    fn scope(&mut self) -> Option<Scope> {
        Some(match self.byte()? {
            0 => Scope::Uri(self.bytes()?.into()),
            1 => Scope::Path(self.bytes()?.into()),
            2 => Scope::Prefix(Prefix { authority: None, text: self.text()?.into() }),
            3 => Scope::Prefix(Prefix { authority: Some(self.bytes()?.into()), text: self.text()?.into() }),
            4 => Scope::Label(self.bytes()?.into()),
            5 => Scope::All,
            _ => return None,
        })
    }

    fn query(&mut self) -> Option<Queried> {
        Some(match self.byte()? {
            0 => Queried::Path { host: None, path: self.text()?.to_owned() },
            1 => Queried::Path { host: Some(self.text()?.to_owned()), path: self.text()?.to_owned() },
            2 => Queried::Url(self.text()?.parse().ok()?),
            _ => return None,
        })
    }

    /// Grows with what is there, whatever number of items is promised.
    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.number()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Some(items)
    }

    fn name(&mut self) -> Option<String> {
        self.text().filter(|name| name.len() <= MAX_NAME).map(str::to_owned)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
            if byte & 0x80 == 0 {
                // The shortest form only.
                return (byte != 0 || shift == 0).then_some(number);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn chunk<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;

    fn record(invalidation: Invalidation) -> Record {
        let created = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        Record::new(0x0123_4567_89ab_cdef, "deploy", created, invalidation).unwrap()
    }

    fn samples() -> Vec<Record> {
        let everything = Invalidation::paths(["/a", "/a?b=c", "/news/*"])
            .and_then(|all| Ok(all.and(Invalidation::host_paths("a.example:8080", ["/x", "/y?z", "/y?*"])?)))
            .and_then(|all| {
                Ok(all.and(
                    Invalidation::url("https://a.example/\u{e9}?q")
                        .or_else(|_| Invalidation::url("https://a.example/%c3%a9?q"))?,
                ))
            })
            .and_then(|all| Ok(all.and(Invalidation::tags(["News"])?)))
            .and_then(|all| Ok(all.and(Invalidation::groups("https://a.example", ["g", ""])?)))
            .unwrap();
        let soft = Invalidation::tags(["t"]).unwrap().soft().reference("release-7");
        [everything, soft, Invalidation::all(), Invalidation::all().reference("")].map(record).into()
    }

    /// What has a right hash whatever else it says.
    fn sealed(mut fields: Vec<u8>) -> Vec<u8> {
        let hash = fnv(&fields);
        fields.extend_from_slice(&hash.to_le_bytes());
        fields
    }

    #[test]
    fn what_is_written_is_read_back() {
        for record in samples() {
            assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(&record));
        }
    }

    #[test]
    fn the_form_of_version_1_does_not_change() {
        let soft = Invalidation::paths(["/a*"]).unwrap().soft().reference("r");
        let hex: String = record(soft).encode().iter().map(|byte| format!("{byte:02x}")).collect();
        let fields = "01efcdab8967452301fbd095ffbc3103066465706c6f79017201010102022f6100";
        assert_eq!(hex.split_at(hex.len() - 16).0, fields);
    }

    #[test]
    fn whatever_is_not_as_it_was_written_is_refused() {
        for record in samples() {
            let bytes = record.encode();
            for at in 0..bytes.len() {
                assert!(Record::decode(&bytes[..at]).is_err(), "cut off at {at}");
                for bit in 0..8 {
                    let mut changed = bytes.clone();
                    changed[at] ^= 1 << bit;
                    assert!(Record::decode(&changed).is_err(), "bit {bit} of byte {at}");
                }
            }
            let fields = &bytes[..bytes.len() - 8];
            for at in 1..fields.len() {
                assert!(Record::decode(&sealed(fields[..at].into())).is_err(), "cut off at {at}, and sealed");
            }
            assert_eq!(Record::decode(&sealed([fields, b"\0"].concat())), Err(RecordError::Corrupt));
        }
        assert_eq!(Record::decode(b""), Err(RecordError::Corrupt));
        assert_eq!(Record::decode(b"\x02anything"), Err(RecordError::Version(2)));
        assert_eq!(Record::decode(b"\x01"), Err(RecordError::Corrupt));
    }

    #[test]
    fn fields_that_cannot_be_are_refused_though_their_hash_is_right() {
        // Version, id, created, flags, author, paths, wildcards.
        let start = |flags: u8| [&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, flags, 0][..], &[1, 0]].concat();
        let with = |flags, rest: &[u8]| Record::decode(&sealed([&start(flags), rest].concat()));
        assert!(with(0, &[1, 5, 0]).is_ok());
        for (flags, rest) in [
            (4, &[1, 5, 0][..]),
            // No scope, one of a kind that is not known, fewer than promised, more than could be.
            (0, &[0, 0]),
            (0, &[1, 6, 0]),
            (0, &[2, 5, 0]),
            (0, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 5, 0]),
            // Numbers that are longer than they need to be, or than fits.
            (0, &[0x81, 0x00, 5, 0]),
            (0, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 5, 0]),
            // A prefix that is no text, a URL that is none.
            (0, &[1, 2, 1, 0xff, 0]),
            (0, &[1, 5, 1, 2, 1, b' ']),
        ] {
            assert_eq!(with(flags, rest), Err(RecordError::Corrupt), "{flags} {rest:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_what_would_be_written(
            sample in select(samples()),
            changes in vec((any::<Index>(), any::<u8>()), 0..4),
            cut in any::<Index>(),
            rest in vec(any::<u8>(), 0..8),
        ) {
            let bytes = sample.encode();
            let mut fields = bytes[..bytes.len() - 8].to_vec();
            for (at, byte) in changes {
                let at = at.index(fields.len());
                fields[at] = byte;
            }
            fields.truncate(cut.index(fields.len() * 2));
            fields.extend(rest);
            let bytes = sealed(fields);
            if let Ok(record) = Record::decode(&bytes) {
                prop_assert_eq!(record.encode(), bytes);
            }
        }
    }

    #[test]
    fn what_cannot_be_written_within_the_limits_is_an_error() {
        let new = |author: &str, invalidation| Record::new(1, author, SystemTime::UNIX_EPOCH, invalidation);
        let long = "x".repeat(MAX_NAME + 1);
        assert_eq!(new(&long, Invalidation::all()), Err(RecordError::LongName));
        assert_eq!(new("", Invalidation::all().reference(long)), Err(RecordError::LongName));
        assert_eq!(new("", Invalidation::tags([""; 0]).unwrap()), Err(RecordError::Empty));
        let path = format!("/{}", "x".repeat(3_999));
        assert_eq!(new("", Invalidation::paths(vec![path; 263]).unwrap()), Err(RecordError::TooLarge));
    }

    #[test]
    fn a_number_is_read_in_its_shortest_form_and_up_to_64_bits() {
        let most = [[0xff; 9].as_slice(), &[0x01]].concat();
        let more = [[0xff; 9].as_slice(), &[0x02]].concat();
        for (bytes, number) in [
            (&[0][..], Some(0)),
            (&[0x80, 0x01], Some(128)),
            (&[0x80, 0x00], None),
            (&[0x80], None),
            (&most, Some(u64::MAX)),
            (&more, None),
        ] {
            assert_eq!(Reader(bytes).number(), number, "{bytes:x?}");
        }
    }
}

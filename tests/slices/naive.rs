//! The server that everyone agrees with: it has the whole object at hand, and cuts.

use std::ops::Range;

use bytes::Bytes;

/// How an origin says which bytes belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validator {
    Strong,
    Weak,
    Date,
    Nothing,
}

/// One state of the object, as requests with one value of `X-Variant` get it.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) number: usize,
    pub(crate) variant: usize,
    pub(crate) validator: Validator,
    pub(crate) content: Bytes,
}

/// What a viewer asks for. Ranges are kept as they are meant, so that nothing here has to read them.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) head: bool,
    pub(crate) variant: usize,
    pub(crate) ranges: Vec<Spec>,
    /// The number of the state that `If-None-Match` names, and `If-Range`.
    pub(crate) if_none_match: Option<usize>,
    pub(crate) if_range: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Spec {
    From(u64),
    FromTo(u64, u64),
    Suffix(u64),
}

/// What the answer has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Whole,
    NotModified,
    Unsatisfiable,
    Parts(Vec<Range<u64>>),
}

impl Spec {
    fn spelt(self) -> String {
        match self {
            Self::From(first) => format!("{first}-"),
            Self::FromTo(first, last) => format!("{first}-{last}"),
            Self::Suffix(length) => format!("-{length}"),
        }
    }
}

impl Wish {
    pub(crate) fn range_field(&self) -> Option<String> {
        let specs: Vec<_> = self.ranges.iter().map(|spec| spec.spelt()).collect();
        (!specs.is_empty()).then(|| format!("bytes={}", specs.join(",")))
    }
}

impl State {
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.number, self.variant)
    }

    pub(crate) fn tag(&self) -> Option<String> {
        match self.validator {
            Validator::Strong => Some(format!("\"{}\"", self.name())),
            Validator::Weak => Some(format!("W/\"{}\"", self.name())),
            Validator::Date | Validator::Nothing => None,
        }
    }

    /// Each state is of another second of 2025.
    pub(crate) fn modified(&self) -> Option<String> {
        let seconds = 1_750_000_000 + (self.number * 8 + self.variant) as u64;
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        (self.validator == Validator::Date).then(|| httpdate::fmt_http_date(at))
    }

    /// RFC 9110 §13.2.2, §14.2, and the ranges that it lets a server answer whole.
    pub(crate) fn reply(&self, wish: &Wish) -> Reply {
        let length = self.content.len() as u64;
        if wish.if_none_match == Some(self.number) && self.tag().is_some() {
            return Reply::NotModified;
        }
        let holds = match wish.if_range {
            None => true,
            Some(number) => {
                number == self.number && matches!(self.validator, Validator::Strong | Validator::Date)
            }
        };
        if wish.head || wish.ranges.is_empty() || !holds {
            return Reply::Whole;
        }
        let mut parts: Vec<Range<u64>> = Vec::new();
        for spec in &wish.ranges {
            let part = match *spec {
                Spec::From(first) => first..length,
                Spec::FromTo(first, last) => first..length.min(last + 1),
                Spec::Suffix(1..) if length == 0 => return Reply::Whole,
                Spec::Suffix(suffix) => length.saturating_sub(suffix)..length,
            };
            if part.is_empty() {
                continue;
            }
            if parts.last().is_some_and(|before| part.start < before.end) {
                return Reply::Whole;
            }
            parts.push(part);
        }
        if parts.is_empty() { Reply::Unsatisfiable } else { Reply::Parts(parts) }
    }

    pub(crate) fn bytes(&self, range: &Range<u64>) -> Bytes {
        self.content.slice(range.start as usize..range.end as usize)
    }

    /// A `multipart/byteranges` body, as the origin frames it.
    pub(crate) fn multipart(&self, parts: &[Range<u64>]) -> Bytes {
        let mut body = Vec::new();
        for part in parts {
            let (first, last, length) = (part.start, part.end - 1, self.content.len());
            let head = format!("\r\n--origin\r\nContent-Range: bytes {first}-{last}/{length}\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(&self.bytes(part));
        }
        body.extend_from_slice(b"\r\n--origin--\r\n");
        body.into()
    }
}

//! What happened to a request, in the words of RFC 9211: [`Outcome`].

use std::fmt;

use http::StatusCode;

/// What the edge did with one request. It stands as text in the response's `Cache-Status` header (RFC 9211), and in its
/// extensions if [`EdgeBuilder::outcomes`](crate::EdgeBuilder::outcomes) says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// Whether the answer came from the store without going forward (RFC 9211 §2.1) and, if not, why not (§2.2).
    pub disposition: Disposition,
    /// The status the origin answered with, where the viewer got another (§2.3).
    pub fwd_status: Option<StatusCode>,
    /// Seconds of freshness left; negative when stale (§2.4).
    pub ttl: Option<i64>,
    /// Whether the origin's answer is being stored (§2.5).
    pub stored: bool,
    /// Whether this request shared another's exchange with the origin (§2.6).
    pub collapsed: bool,
    /// What else an operator would want to know (§2.8).
    pub detail: Option<Detail>,
}

/// Answered from the store, or forwarded for a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Answered from the store.
    Hit,
    /// Sent towards the origin.
    Forward(ForwardReason),
}

/// Why a request went forward (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardReason {
    /// The edge was told not to handle it.
    Bypass,
    /// The method's semantics require it.
    Method,
    /// Nothing is stored for the URI.
    UriMiss,
    /// Something is stored for the URI, but no variant matches.
    VaryMiss,
    /// Nothing usable is stored, and it cannot be said more closely.
    Miss,
    /// A fresh response is stored, but the request did not allow it.
    Request,
    /// The stored response is stale.
    Stale,
    /// The stored response holds only a part of what was asked for.
    Partial,
}

/// The `detail` of a `Cache-Status`: a fixed word, never the key or anything a viewer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Detail {
    /// The request cannot be put in canonical form, so it has no key.
    NotCanonical,
    /// The request has a body or asks for another protocol.
    Untouched,
    /// The key's last answer could not be stored, so this request did not queue.
    Uncacheable,
    /// The edge is at a limit of fills or of bytes in flight.
    Busy,
    /// Waited for another request's fill, and gave up.
    Timeout,
    /// The origin failed.
    OriginError,
    /// Stale, served while it is being refreshed (RFC 5861 §3).
    StaleWhileRevalidate,
    /// Stale, served because the origin failed (RFC 5861 §4, RFC 9111 §4.2.4).
    StaleIfError,
    /// Stale, served because the request allows it (RFC 9111 §5.2.1.2).
    MaxStale,
    /// The request wanted a stored response or none (RFC 9111 §5.2.1.7).
    OnlyIfCached,
    /// Another edge asked, which had come further in the log of invalidations.
    Behind,
    /// The edge has lost contact with its distribution's log of invalidations.
    NoContact,
}

impl Outcome {
    pub(crate) const fn hit(ttl: i64) -> Self {
        Self {
            disposition: Disposition::Hit,
            fwd_status: None,
            ttl: Some(ttl),
            stored: false,
            collapsed: false,
            detail: None,
        }
    }

    pub(crate) const fn forward(reason: ForwardReason) -> Self {
        Self {
            disposition: Disposition::Forward(reason),
            fwd_status: None,
            ttl: None,
            stored: false,
            collapsed: false,
            detail: None,
        }
    }

    pub(crate) const fn because(mut self, detail: Detail) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Whether the answer came from the store without going forward.
    pub const fn is_hit(&self) -> bool {
        matches!(self.disposition, Disposition::Hit)
    }

    /// Why the request went forward, if it did.
    pub const fn forward_reason(&self) -> Option<ForwardReason> {
        match self.disposition {
            Disposition::Hit => None,
            Disposition::Forward(reason) => Some(reason),
        }
    }
}

impl ForwardReason {
    /// The token of RFC 9211 §2.2.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

impl Detail {
    /// The token that stands in `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotCanonical => "not-canonical",
            Self::Untouched => "untouched",
            Self::Uncacheable => "uncacheable",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::OriginError => "origin-error",
            Self::StaleWhileRevalidate => "stale-while-revalidate",
            Self::StaleIfError => "stale-if-error",
            Self::MaxStale => "max-stale",
            Self::OnlyIfCached => "only-if-cached",
            Self::Behind => "behind",
            Self::NoContact => "no-contact",
        }
    }
}

impl Outcome {
    /// Spells the parameters of the edge's `Cache-Status` member, each preceded by `"; "` (RFC 9211 §2). Every hit needs
    /// them, and `fmt`'s machinery would take longer than the lookup.
    pub(crate) fn spell(&self, mut write: impl FnMut(&str)) {
        match self.disposition {
            Disposition::Hit => write("; hit"),
            Disposition::Forward(reason) => {
                write("; fwd=");
                write(reason.as_str());
            }
        }
        if let Some(status) = &self.fwd_status {
            write("; fwd-status=");
            write(status.as_str());
        }
        if let Some(ttl) = self.ttl {
            write("; ttl=");
            write(itoa::Buffer::new().format(ttl));
        }
        if self.stored {
            write("; stored");
        }
        if self.collapsed {
            write("; collapsed");
        }
        if let Some(detail) = self.detail {
            write("; detail=");
            write(detail.as_str());
        }
    }
}

/// The parameters of the edge's `Cache-Status` member, each preceded by `"; "` (RFC 9211 §2).
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut written = Ok(());
        self.spell(|text| written = written.and_then(|()| f.write_str(text)));
        written
    }
}

//! What the operator decides: [`CachePolicy`], its parts, and [`Behavior`]. Plain data.
//!
//! Every default is the safe one. A policy is checked once, by
//! [`EdgeBuilder::build`](crate::EdgeBuilder::build).
//!
//! ```
//! use std::time::Duration;
//! use tower_edge::{CachePolicy, Ttl};
//!
//! let policy = CachePolicy {
//!     ttl: Ttl { default: Some(Duration::from_secs(300)), ..Ttl::default() },
//!     ..CachePolicy::default()
//! };
//! assert_eq!(policy.limits.variants, 8);
//! ```

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::HeaderName;

use crate::key::KeyPolicy;
use crate::prefetch::Prefetch;

/// How one kind of object is cached. The first matching [`Behavior`] decides which policy applies.
#[derive(Clone, Debug, Default)]
pub struct CachePolicy {
    /// How long objects live.
    pub ttl: Ttl,
    /// Lifetimes for answers without a lifetime of their own, by exact status: how long a 404 or a
    /// 503 is remembered. The lifetime an answer carries wins if it is longer. Empty by default.
    pub error_ttl: Vec<(StatusCode, Duration)>,
    /// The longest lifetimes by exact status, whatever an answer says of itself. Past it, such an answer is not used for
    /// anything: neither while it is being refreshed nor in place of an error. Empty by default.
    pub error_ttl_max: Vec<(StatusCode, Duration)>,
    /// Lifetimes guessed from `Last-Modified` when nothing else says (RFC 9111 §4.2.2).
    pub heuristic: Heuristic,
    /// When an object past its lifetime may still be served.
    pub stale: Stale,
    /// Which parts of a request make the cache key.
    pub key: KeyPolicy,
    /// Which fields of a request are brought into one form before they are compared and forwarded.
    pub normalise: Normalise,
    /// Which of the origin's fields are for this cache before `Cache-Control` (RFC 9213).
    pub targeted: Targeted,
    /// The fields in which the origin tags its answers, so that they can be invalidated by tag. They are taken out of
    /// what viewers get. `Cache-Tag` and `Surrogate-Key` by default.
    pub tags: Tags,
    /// Whether the viewer's `Cache-Control` is honoured.
    pub request_directives: RequestDirectives,
    /// What happens to answers that set a cookie.
    pub set_cookie: SetCookie,
    /// What happens to answers to requests with `Authorization`.
    pub authorization: Authorization,
    /// What becomes of what viewers write.
    pub writes: Writes,
    /// What is fetched ahead of viewers. Nothing by default.
    pub prefetch: Option<Arc<dyn Prefetch>>,
    /// Whether large objects are fetched and stored in slices. `None`, the default, stores objects whole.
    pub slices: Option<Slices>,
    /// Bounds on what one request or one object may cost.
    pub limits: Limits,
}

/// Bounds on the time an object lives at the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// A lifetime the origin states is never taken as shorter than this.
    pub min: Duration,
    /// The lifetime of an object whose origin states none. `None` leaves it to [`Heuristic`].
    pub default: Option<Duration>,
    /// A lifetime is never taken as longer than this. A year by default.
    pub max: Duration,
    /// Lets `min` (and `default`) win over `no-store`, `no-cache` and `private`. Off by default:
    /// turning it on can hand one viewer's answer to another.
    pub override_origin: bool,
}

impl Default for Ttl {
    fn default() -> Self {
        Self {
            min: Duration::ZERO,
            default: None,
            max: Duration::from_secs(31_536_000),
            override_origin: false,
        }
    }
}

/// A lifetime guessed as a fraction of the object's age when it was fetched (RFC 9111 §4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heuristic {
    /// Percent of the time since `Last-Modified`; 0 turns the guess off. 10 by default.
    pub percent: u8,
    /// The longest guess. A day by default.
    pub max: Duration,
}

impl Default for Heuristic {
    fn default() -> Self {
        Self { percent: 10, max: Duration::from_secs(86_400) }
    }
}

/// When a stale object may be served. A directive of the origin wins over these windows, and
/// `must-revalidate`, `proxy-revalidate` and `no-cache` switch them off (RFC 9111 §4.2.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Served while a fill refreshes it, where the origin gives no `stale-while-revalidate`. Zero by default.
    pub while_revalidate: Duration,
    /// Served instead of an error answer whose status is in `error_statuses`, where the origin gives no
    /// `stale-if-error`. Zero by default.
    pub if_error: Duration,
    /// The statuses that count as an error (RFC 5861 §4). 500, 502, 503 and 504 by default.
    pub error_statuses: Vec<StatusCode>,
    /// Served when the origin cannot be reached at all. An hour by default.
    pub if_disconnected: Duration,
    /// After an origin failed, a stale object that may be served is served without asking again for this long.
    /// Two seconds by default.
    pub retry_after: Duration,
}

impl Default for Stale {
    fn default() -> Self {
        Self {
            while_revalidate: Duration::ZERO,
            if_error: Duration::ZERO,
            error_statuses: vec![
                StatusCode::INTERNAL_SERVER_ERROR,
                StatusCode::BAD_GATEWAY,
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::GATEWAY_TIMEOUT,
            ],
            if_disconnected: Duration::from_secs(3600),
            retry_after: Duration::from_secs(2),
        }
    }
}

/// The fields in which an origin speaks to caches like this one (RFC 9213).
///
/// Where one is there and valid, `Cache-Control` and `Expires` do not count, whatever they say. [`targeted`] says how it is
/// read, and what viewers with caches of their own get to see.
///
/// [`targeted`]: crate::semantics::targeted
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targeted {
    /// The first of these that is there and valid counts. `CDN-Cache-Control` by default.
    pub fields: Vec<HeaderName>,
    /// Whether viewers get these fields, too. Yes by default: there may be another CDN in front. No takes them out of
    /// everything that is sent under this policy.
    pub forward: bool,
}

impl Default for Targeted {
    fn default() -> Self {
        Self { fields: vec![HeaderName::from_static("cdn-cache-control")], forward: true }
    }
}

/// What becomes of `Cache-Control` in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestDirectives {
    /// Obeyed as RFC 9111 §5.2.1 describes.
    #[default]
    Honour,
    /// Ignored, as most CDNs do: a viewer cannot make the edge ask the origin.
    Ignore,
}

/// What becomes of an answer with `Set-Cookie`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetCookie {
    /// It is handed to its viewer and not stored.
    #[default]
    DoNotStore,
    /// It is stored without the cookie, and no viewer gets one.
    Strip,
    /// It is stored with the cookie, and every viewer gets it. Only for cookies that identify nobody.
    Store,
}

/// What becomes of an answer to a request with `Authorization`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authorization {
    /// Stored only with `public`, `s-maxage` or `must-revalidate` (RFC 9111 §3.5).
    #[default]
    Explicit,
    /// Never stored, and requests that carry it never get a stored answer.
    Bypass,
}

/// What becomes of what viewers write. Either way it streams to the origin, and what a successful write changed is
/// invalidated before the writer has its answer (RFC 9111 §4.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Writes {
    /// The next read asks the origin.
    #[default]
    Around,
    /// What a PUT sent is stored, so that the next read is a hit, if the answer has a validator: by RFC 9110 §9.3.4 an origin
    /// sends one only if it saved the content unchanged. How long it lives is for this policy and the answer's own caching
    /// fields to say; its `Content-Type` and the like are the request's. Nothing is stored of a PUT that was aborted, short or
    /// larger than [`Limits::object_size`], whose answer has a `Vary`, or that another write or an invalidation overlapped.
    ///
    /// Only for paths whose objects are for everyone, and whose origin gives back what it was given, with no other fields than
    /// those.
    Through,
}

/// The fields in which the origin tags its answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags(pub Vec<TagField>);

impl Default for Tags {
    fn default() -> Self {
        Self(TagField::defaults().into())
    }
}

/// One field with tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagField {
    /// Its name.
    pub name: HeaderName,
    /// What stands between two tags.
    pub separator: TagSeparator,
}

impl TagField {
    /// `Cache-Tag` and `Surrogate-Key`.
    pub(crate) fn defaults() -> [Self; 2] {
        let field = |name, separator| Self { name: HeaderName::from_static(name), separator };
        [field("cache-tag", TagSeparator::Comma), field("surrogate-key", TagSeparator::Space)]
    }
}

/// What stands between two tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagSeparator {
    /// A comma, as in `Cache-Tag: news, front`.
    Comma,
    /// White space, as in `Surrogate-Key: news front`.
    Space,
}

/// The fields of a request that are brought into one form, so that viewers who want the same share an answer.
///
/// In that form members stand in lower case, without white space, the most wanted first, equally wanted ones in
/// alphabetic order. Both the stored answers of a `Vary` are told apart by it and the origin sees it. An origin that
/// takes the *order* of equally wanted members for a preference, which HTTP does not give it (RFC 9110 §12.5.4),
/// needs the field switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Normalise {
    /// `Accept-Encoding`. On by default.
    pub accept_encoding: bool,
    /// `Accept-Language`. On by default.
    pub accept_language: bool,
}

impl Default for Normalise {
    fn default() -> Self {
        Self { accept_encoding: true, accept_language: true }
    }
}

/// How large objects are fetched and stored: in aligned slices, each when somebody needs it.
///
/// A player that seeks in a film then pulls the slices it plays, each is fetched once however many ask, and each makes room
/// for others on its own. An object may be larger than [`Limits::object_size`], and than the edge. It takes an origin that
/// serves ranges (`Accept-Ranges: bytes`) and says which bytes belong together, by a strong `ETag` or, failing that, by
/// `Last-Modified` and the object's length. Others are stored whole, as without slices.
///
/// ```
/// use tower_edge::{CachePolicy, Slices};
///
/// let films = CachePolicy { slices: Some(Slices::of(1024 * 1024)), ..CachePolicy::default() };
/// assert_eq!(films.slices, Some(Slices::default()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slices {
    /// Bytes in a slice: at least 4 KiB, at most an eighth of the edge's capacity. 1 MiB by default.
    ///
    /// A request for one byte of an object pulls one slice from the origin; one for the end of an object that is not known yet
    /// pulls two.
    pub size: u64,
    /// Objects no longer than this, or than [`Limits::object_size`] if that is less, are stored whole. Eight slices by
    /// default.
    pub threshold: u64,
    /// Slices fetched ahead of a reader, within the range it asked for; 16 at most. 1 by default.
    ///
    /// Each reader holds them, and the one it reads, beside what the edge's capacity is for: they may have been evicted.
    pub read_ahead: usize,
}

impl Slices {
    /// Slices of this many bytes.
    pub const fn of(size: u64) -> Self {
        Self { size, threshold: size.saturating_mul(8), read_ahead: 1 }
    }
}

impl Default for Slices {
    fn default() -> Self {
        Self::of(1024 * 1024)
    }
}

/// Bounds on what one request or one object may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest body that is stored. `None` takes 64 MiB or an eighth of the edge's capacity, whichever is less.
    pub object_size: Option<u64>,
    /// Stored responses for one key that a `Vary` tells apart. 8 by default.
    pub variants: usize,
    /// Bytes of header names and values in a stored response. 32 KiB by default.
    pub head_size: usize,
    /// Header fields in a stored response. 128 by default.
    pub head_fields: usize,
    /// Ranges answered in one response; a request with more gets the whole body. 16 by default.
    pub ranges: usize,
    /// How long a request waits for the head of a fill that another request leads. 5 s by default.
    pub follower_wait: Duration,
    /// How many followers try in turn when the leader of a fill fails. 3 by default.
    pub follower_retries: u8,
    /// How long a key whose answer could not be stored is remembered, so that nobody queues behind it.
    /// 120 s by default.
    pub uncacheable_memo: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            object_size: None,
            variants: 8,
            head_size: 32 * 1024,
            head_fields: 128,
            ranges: 16,
            follower_wait: Duration::from_secs(5),
            follower_retries: 3,
            uncacheable_memo: Duration::from_secs(120),
        }
    }
}

/// A [`CachePolicy`] for the paths that match a pattern.
///
/// Behaviors are tried in the order they were added and the first match wins; the edge's own policy
/// comes last. In a pattern `*` stands for any run of characters, `/` included, and `?` for exactly one.
/// Patterns are matched against the raw path, case-sensitive, without the query.
#[derive(Clone, Debug)]
pub struct Behavior {
    pub(crate) pattern: String,
    pub(crate) policy: CachePolicy,
}

impl Behavior {
    /// The policy for paths matching `pattern`, such as `/images/*` or `*.m3u8`.
    pub fn new(pattern: impl Into<String>, policy: CachePolicy) -> Self {
        Self { pattern: pattern.into(), policy }
    }
}

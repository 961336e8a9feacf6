//! Turns what the edge has into the response one viewer asked for: the viewer's conditions, the range, HEAD, `Age` and
//! `Cache-Status`.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CACHE_STATUS, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
};
use http::{Extensions, HeaderMap, HeaderValue, Method, Response, StatusCode};
use smallvec::{SmallVec, smallvec};

use crate::body::{Body, Part, Source};
use crate::edge::EdgeInner;
use crate::fill;
use crate::hints::CacheHints;
use crate::invalidation::label;
use crate::outcome::Outcome;
use crate::policy::CachePolicy;
use crate::request::Facts;
use crate::semantics::part;
use crate::semantics::preconditions::{self, Verdict};
use crate::semantics::range::{self, Selection};
use crate::signature::{self, Signature};
use crate::store::{Head, Stored};

/// What of a request shapes its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) facts: &'a Facts,
    pub(crate) policy: &'a CachePolicy,
}

/// Which bytes of a body of known length go to the viewer, in runs; none where the answer has no body of it.
pub(crate) fn wanted(head: &Head, length: u64, view: View<'_>) -> SmallVec<[Range<u64>; 1]> {
    let whole = || smallvec![0..length];
    if *view.method == Method::HEAD
        || view.facts.conditional
            && preconditions::evaluate(view.headers, head.status, &head.validators(), head.received_wall)
                == Verdict::NotModified
    {
        return SmallVec::new();
    }
    if !view.facts.range || head.status != StatusCode::OK {
        return whole();
    }
    match range::select(view.headers, &head.validators(), length, view.policy.limits.ranges) {
        Selection::Whole => whole(),
        Selection::Unsatisfiable => SmallVec::new(),
        Selection::Parts(parts) => parts,
    }
}

/// Where the bytes of a shared answer are.
pub(crate) enum Supply<'a> {
    /// In the store. A hit whose body is in one block, or that has none, need not count who holds it.
    Stored(&'a Arc<Stored>),
    Source(Source),
}

impl Supply<'_> {
    fn whole<R>(self, length: Option<u64>) -> Body<R> {
        match self {
            Self::Stored(stored) => match stored.single() {
                Some(bytes) => Body::full(bytes),
                None => Body::whole(Source::Stored(Arc::clone(stored)), length),
            },
            Self::Source(source) => Body::whole(source, length),
        }
    }

    fn into_source(self) -> Source {
        match self {
            Self::Stored(stored) => Source::Stored(Arc::clone(stored)),
            Self::Source(source) => source,
        }
    }

    /// The viewer does not ask for the body, but the next one may.
    fn let_run(&self) {
        if let Self::Source(Source::Fill(participant)) = self {
            participant.let_run();
        }
    }
}

/// The response out of a head that may be shared and where its body comes from. `spare` are extensions that nobody needs any
/// more: their room is used again.
#[allow(clippy::too_many_arguments, reason = "it puts together everything the walk has found out")]
pub(crate) fn shared<R>(
    edge: &EdgeInner,
    head: &Head,
    supply: Supply<'_>,
    length: Option<u64>,
    view: View<'_>,
    outcome: Outcome,
    now: Duration,
    spare: Extensions,
) -> Response<Body<R>> {
    let mut headers = fields(edge, head, view.policy, &outcome, now);
    let facts = view.facts;
    let (status, body) = if facts.conditional
        && preconditions::evaluate(view.headers, head.status, &headers, head.received_wall)
            == Verdict::NotModified
    {
        preconditions::not_modified_fields(&mut headers);
        supply.let_run();
        (StatusCode::NOT_MODIFIED, Body::absent())
    } else if *view.method == Method::HEAD {
        supply.let_run();
        (head.status, Body::absent())
    } else if facts.range
        && head.status == StatusCode::OK
        && let Some(length) = length
    {
        match range::select(view.headers, &headers, length, view.policy.limits.ranges) {
            Selection::Whole => (head.status, supply.whole(Some(length))),
            Selection::Unsatisfiable => {
                unsatisfiable(&mut headers, length);
                supply.let_run();
                (StatusCode::RANGE_NOT_SATISFIABLE, Body::empty())
            }
            Selection::Parts(parts) => {
                (StatusCode::PARTIAL_CONTENT, partial(edge, &mut headers, supply, &parts, length))
            }
        }
    } else {
        (head.status, supply.whole(length))
    };
    let mut response = finish(edge, status, headers, body, outcome, spare);
    if edge.for_edges && head.terms.source.is_explicit() {
        // What a handler said of it here counts for an edge in this process, too.
        response.extensions_mut().insert(CacheHints::new().ttl(head.terms.lifetime));
    }
    response
}

/// A part of a response, straight from the fill that fetched it.
pub(crate) fn part<R>(
    edge: &EdgeInner,
    policy: &CachePolicy,
    head: &Head,
    source: Source,
    part: &fill::Part,
    outcome: Outcome,
    now: Duration,
) -> Response<Body<R>> {
    let mut headers = fields(edge, head, policy, &outcome, now);
    single_range(&mut headers, &part.range, part.total);
    let body = Body::run(source, part.range.clone());
    finish(edge, StatusCode::PARTIAL_CONTENT, headers, body, outcome, Extensions::new())
}

/// The fields of a shared response, with `Age` and `Cache-Status` as they are now.
fn fields(
    edge: &EdgeInner,
    head: &Head,
    policy: &CachePolicy,
    outcome: &Outcome,
    now: Duration,
) -> HeaderMap {
    let age = head.age(now).as_secs();
    let mut headers = edge.store.signed(head, &Signature { name: &edge.name, outcome, age });
    if age == 0 && !outcome.is_hit() && !outcome.collapsed {
        // First-hand: no cache held it (RFC 9111 §5.1).
        headers.remove(AGE);
    }
    if edge.for_edges {
        tag(&mut headers, head, policy);
    } else {
        drop_targeted(&mut headers, policy);
    }
    headers
}

/// Another edge is to know the tags by which what it stores is cleared.
fn tag(headers: &mut HeaderMap, head: &Head, policy: &CachePolicy) {
    // Whatever stands between tags in the field, on a line by itself there is one.
    let Some(field) = policy.tags.0.first() else { return };
    for tag in head.labels.iter().filter(|label| label::is_tag(label)).map(|label| label::tag_name(label)) {
        if let Ok(tag) = HeaderValue::try_from(tag) {
            headers.append(field.name.clone(), tag);
        }
    }
}

/// The origin's response, for the one who asked. `reduced` says that conditions and range were left out of the request, so
/// that they are still to be applied.
pub(crate) fn own<R>(
    edge: &EdgeInner,
    response: Response<R>,
    view: View<'_>,
    reduced: bool,
    outcome: Outcome,
) -> Response<Body<R>>
where
    R: http_body::Body,
{
    let (mut parts, body) = response.into_parts();
    let length = body.size_hint().exact();
    let mut response = if !reduced || parts.status != StatusCode::OK {
        Response::from_parts(parts, Body::origin(body))
    } else if view.facts.conditional
        && preconditions::evaluate(view.headers, parts.status, &parts.headers, edge.clock.wall())
            == Verdict::NotModified
    {
        preconditions::not_modified_fields(&mut parts.headers);
        parts.status = StatusCode::NOT_MODIFIED;
        Response::from_parts(parts, Body::absent())
    } else if let (true, Some(length)) = (view.facts.range && *view.method == Method::GET, length) {
        match range::select(view.headers, &parts.headers, length, 1) {
            Selection::Whole => Response::from_parts(parts, Body::origin(body)),
            Selection::Unsatisfiable => {
                unsatisfiable(&mut parts.headers, length);
                parts.status = StatusCode::RANGE_NOT_SATISFIABLE;
                Response::from_parts(parts, Body::empty())
            }
            Selection::Parts(ranges) => {
                let range = ranges[0].clone();
                single_range(&mut parts.headers, &range, length);
                parts.status = StatusCode::PARTIAL_CONTENT;
                Response::from_parts(parts, Body::cut(body, range))
            }
        }
    } else {
        Response::from_parts(parts, Body::origin(body))
    };
    sign(edge, view.policy, &mut response, outcome);
    response
}

/// The origin's response to a request that the edge had nothing to do with.
pub(crate) fn passed<R>(
    edge: &EdgeInner,
    policy: &CachePolicy,
    response: Response<R>,
    outcome: Outcome,
) -> Response<Body<R>> {
    flowing(edge, policy, response.map(Body::origin), outcome)
}

/// The origin's response to a request that is no read, whose body others may come to read.
pub(crate) fn flowing<R>(
    edge: &EdgeInner,
    policy: &CachePolicy,
    mut response: Response<Body<R>>,
    outcome: Outcome,
) -> Response<Body<R>> {
    sign(edge, policy, &mut response, outcome);
    response
}

/// Says in the origin's response what the edge did.
fn sign<R>(edge: &EdgeInner, policy: &CachePolicy, response: &mut Response<Body<R>>, outcome: Outcome) {
    if !edge.for_edges {
        drop_targeted(response.headers_mut(), policy);
        for field in &policy.tags.0 {
            response.headers_mut().remove(&field.name);
        }
        response.extensions_mut().remove::<CacheHints>();
    }
    response.headers_mut().append(CACHE_STATUS, status(edge, &outcome));
    if edge.outcomes {
        response.extensions_mut().insert(outcome);
    }
}

/// Takes out the fields that are for this cache alone, if the policy has them so. The stored response keeps them: after a
/// revalidation they count again.
fn drop_targeted(headers: &mut HeaderMap, policy: &CachePolicy) {
    if !policy.targeted.forward {
        for field in &policy.targeted.fields {
            headers.remove(field);
        }
    }
}

/// A response that the edge makes up itself.
pub(crate) fn made_up<R>(edge: &EdgeInner, code: StatusCode, outcome: Outcome) -> Response<Body<R>> {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CACHE_STATUS, status(edge, &outcome));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    let text = match code {
        StatusCode::GATEWAY_TIMEOUT => "504: the edge has no answer to give\n",
        _ => "502: the origin gave no answer\n",
    };
    let body = Body::full(Bytes::from_static(text.as_bytes()));
    finish(edge, code, headers, body, outcome, Extensions::new())
}

fn finish<R>(
    edge: &EdgeInner,
    status: StatusCode,
    headers: HeaderMap,
    body: Body<R>,
    outcome: Outcome,
    mut spare: Extensions,
) -> Response<Body<R>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    // Its map is empty, so nothing is lost. To drop it takes 60 instructions that find that out.
    std::mem::forget(std::mem::replace(response.headers_mut(), headers));
    if edge.outcomes {
        // What a request brought is no business of its answer.
        spare.clear();
        spare.insert(outcome);
        *response.extensions_mut() = spare;
    }
    response
}

fn unsatisfiable(headers: &mut HeaderMap, length: u64) {
    part::drop_content_digests(headers);
    headers.insert(CONTENT_RANGE, part::unsatisfied_range(length));
    headers.remove(CONTENT_TYPE);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
}

fn single_range(headers: &mut HeaderMap, range: &Range<u64>, length: u64) {
    part::drop_content_digests(headers);
    let (range, length) = part::part_fields(range, length);
    headers.insert(CONTENT_RANGE, range);
    headers.insert(CONTENT_LENGTH, length);
}

fn partial<R>(
    edge: &EdgeInner,
    headers: &mut HeaderMap,
    supply: Supply<'_>,
    parts: &[Range<u64>],
    length: u64,
) -> Body<R> {
    // The origin was asked for the whole: the next range is then at hand.
    supply.let_run();
    let source = supply.into_source();
    headers.entry(ACCEPT_RANGES).or_insert(HeaderValue::from_static("bytes"));
    if let [range] = parts {
        single_range(headers, range, length);
        return Body::run(source, range.clone());
    }
    part::drop_content_digests(headers);
    // A boundary that the content cannot foresee.
    let seed = edge.hasher.hash_one(parts);
    let framed = part::multipart(parts, length, headers.get(CONTENT_TYPE), seed);
    headers.insert(CONTENT_TYPE, framed.content_type);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(framed.length));
    let mut pieces = VecDeque::with_capacity(parts.len() * 2 + 1);
    for (opening, range) in framed.openings.into_iter().zip(parts) {
        pieces.push_back(Part::Frame(opening));
        pieces.push_back(Part::Run(range.clone()));
    }
    pieces.push_back(Part::Frame(framed.closing));
    Body::multipart(source, pieces, framed.length)
}

/// The value of `Cache-Status` in an answer that is not shared.
fn status(edge: &EdgeInner, outcome: &Outcome) -> HeaderValue {
    let mut value = SmallVec::<[u8; 128]>::new();
    signature::spell_status(&edge.name, b"", outcome, |bytes| value.extend_from_slice(bytes));
    HeaderValue::from_bytes(&value).expect("a name checked when the edge was built, and tokens")
}

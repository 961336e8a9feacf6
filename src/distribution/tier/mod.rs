//! Edges whose origin is another edge: what a child tells its parent ([`Announce`]), and how a parent heeds it ([`Parent`]).
//!
//! An edge stores what its parent answers as if it came from the origin. So an answer that the parent had before an
//! invalidation, and that the child asks for after it, would come back to life:
//! 1. The child applies an invalidation; the parent has yet to.
//! 2. A viewer asks the child, and the child its parent, which answers from its store.
//! 3. The child stores that, as of after the invalidation. Nothing will ever clear it.
//!
//! Therefore the child says with each request up to where the log may be in force on it, and the parent answers from what it
//! has only when it has come as far. Else it waits for a moment, and then asks the origin for this child alone.
//!
//! Over HTTP two fields say it: `Tower-Edge-Position` and, as proof that it is a child that says so, `Tower-Edge-Token`.
//! [`Parent`] takes them out of every request, so that nobody else can say anything by them. Within a process an extension
//! does it, which nobody can send.

mod announce;
mod choice;
mod parent;
mod parents;
mod token;

use http::header::HeaderName;

pub use self::announce::Announce;
pub(super) use self::choice::{asked, by_preference, named};
pub(super) use self::parent::answer;
pub use self::parent::{Parent, TierPolicy};
pub use self::parents::{Parents, ParentsService};
pub use self::token::Token;
use super::bus::Position;

const POSITION: HeaderName = HeaderName::from_static("tower-edge-position");
const TOKEN: HeaderName = HeaderName::from_static("tower-edge-token");

/// Up to where in the log the answer to a request has to be new, for who will store it. An extension, from one edge to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct AsNewAs(pub(super) Position);

/// Takes out what only edges say to each other.
pub(super) fn strip(headers: &mut http::HeaderMap) {
    headers.remove(POSITION);
    headers.remove(TOKEN);
}

//! Fills: one exchange with the origin whose answer everyone waiting for it gets.
//!
//! - [`registry`]: who leads the fill of a key, and who joins it.
//! - [`shared`]: the state a fill's task and its participants share. Participants wait for the head, then read the
//!   body, each at its own pace; the task learns when nobody is left.
//! - [`growing`]: the body while it arrives.
//! - [`copy`]: what a writer sends, copied on its way.
//! - [`task`]: the exchange itself, a spawned task, so that no viewer's leaving ends it for the others.
//! - [`slices`]: an object in slices, each with a fill of its own; [`cut`]: its body, cut as it comes.
//! - [`recorder`]: what the origin's answer means to the store; [`freshen`]: a 304's and a HEAD's.

mod copy;
mod cut;
mod freshen;
mod growing;
mod recorder;
mod registry;
mod shared;
mod slices;
mod task;

pub(crate) use self::copy::Copy;
pub(crate) use self::recorder::{Part, Recorder, would_store};
pub(crate) use self::registry::{Lead, Registry, Takes, Turn, Wish};
pub(crate) use self::shared::{Answer, Participant, Unshared};
pub(crate) use self::slices::SliceExchange;
pub(crate) use self::task::{After, Exchange, LeaderAnswer, spawn};

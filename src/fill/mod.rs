//! Fills: one exchange with the origin whose answer everyone waiting for it gets.
//!
//! - [`registry`]: who leads the fill of a key, and who joins it.
//! - [`shared`]: the state a fill's task and its participants share. Participants wait for the head, then read the
//!   body, each at its own pace; the task learns when nobody is left.
//! - [`growing`]: the body while it arrives.
//! - [`copy`]: what a writer sends, copied on its way.
//! - [`task`]: the exchange itself, a spawned task, so that no viewer's leaving ends it for the others.
//! - [`slices`]: an object in slices, each with a fill of its own; [`cut`]: its body, cut as it comes.
//! - [`judge`]: what the head of an answer means; [`freshen`]: that of a 304, and of the answer to a HEAD.
//! - [`recorder`]: what is done about it: the store, the log, the memos and everyone who waits.

mod copy;
mod cut;
mod freshen;
mod growing;
mod judge;
mod recorder;
mod registry;
mod shared;
mod slices;
mod task;

pub(crate) use self::copy::Copy;
pub(crate) use self::judge::{Part, would_store};
pub(crate) use self::recorder::Recorder;
pub(crate) use self::registry::{Lead, Registry, Takes, Turn, Wish};
pub(crate) use self::shared::{Answer, Participant, Unshared};
pub(crate) use self::slices::SliceExchange;
pub(crate) use self::task::{After, Exchange, LeaderAnswer, spawn};

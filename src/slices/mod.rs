//! An object in slices, as one viewer reads it.
//!
//! - [`Slicing`]: the object, and how a slice of it is got: from the store, from a fill under way, or from the origin.
//! - [`source`]: its bytes, one slice after the other, with a few fetched ahead.
//! - [`origin`]: the origin, with its types out of sight, since a body that is read does not know them.

mod origin;
mod source;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::runtime::Handle;
use tokio::time::timeout;

pub(crate) use self::origin::{Asks, SliceOrigin};
pub(crate) use self::source::Sliced;
use crate::edge::EdgeInner;
use crate::error::{BodyError, BodyErrorKind};
use crate::fill::{Answer, Lead, Participant, Recorder, Turn, Unshared};
use crate::key::KeyBuf;
use crate::policy::CachePolicy;
use crate::store::Stored;

/// How often a slice is tried whose exchange ended without an answer.
const TRIES: usize = 3;
/// No reader waits longer for another's exchange, whatever the policy says.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

/// An object in slices, for one request.
pub(crate) struct Slicing {
    pub(crate) edge: Arc<EdgeInner>,
    pub(crate) policy: Arc<CachePolicy>,
    pub(crate) key: KeyBuf,
    /// Its head.
    pub(crate) stored: Arc<Stored>,
    pub(crate) asks: Arc<dyn Asks>,
    pub(crate) runtime: Handle,
    /// The request's fields.
    pub(crate) headers: HeaderMap,
}

/// One slice, or what there is of it yet.
#[derive(Debug)]
pub(crate) enum Piece {
    Stored(Arc<Stored>),
    Fill(Participant),
}

/// Why there is no slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// The origin's object is another by now.
    Changed,
    /// The origin gave no answer that could be used.
    Failed,
    /// The edge runs as many fills as it may.
    Busy,
}

impl From<Missed> for BodyError {
    fn from(missed: Missed) -> Self {
        Self::new(match missed {
            Missed::Changed => BodyErrorKind::Changed,
            Missed::Failed | Missed::Busy => BodyErrorKind::Aborted,
        })
    }
}

impl Slicing {
    /// A slice, if it is stored.
    pub(crate) fn at_hand(&self, index: u64) -> Option<Arc<Stored>> {
        slice_at_hand(&self.edge, &self.key, &self.stored, index)
    }

    /// Gets a slice. One that is only fetched ahead `needs` no fill beyond those that may run.
    pub(crate) async fn fetch(self: Arc<Self>, index: u64, needs: bool) -> Result<Piece, Missed> {
        let Some(generation) = self.stored.generation() else { return Err(Missed::Failed) };
        let key = self.key.for_slice(generation.id, index);
        let fills = &self.edge.fills;
        for _ in 0..TRIES {
            if let Some(stored) = self.at_hand(index) {
                return Ok(Piece::Stored(stored));
            }
            let mut follows = false;
            let (participant, answer) = match fills.slice(&key, needs) {
                Turn::Follow(participant) => {
                    let wait = self.policy.limits.follower_wait.min(LONGEST_WAIT);
                    match timeout(wait, participant.answer()).await {
                        Ok(answer) => {
                            follows = true;
                            (participant, answer)
                        }
                        Err(_) if needs => self.lead(fills.slice_alone(), index).await,
                        Err(_) => return Err(Missed::Failed),
                    }
                }
                Turn::Lead(lead) => match self.at_hand(index) {
                    // Its fill has just ended.
                    Some(stored) => {
                        drop(lead);
                        return Ok(Piece::Stored(stored));
                    }
                    None => self.lead(lead, index).await,
                },
                Turn::Busy | Turn::Exhausted => return Err(Missed::Busy),
            };
            match answer {
                Answer::Flowing { .. } => return Ok(Piece::Fill(participant)),
                Answer::Unshared(Unshared::Changed) => return Err(Missed::Changed),
                Answer::Unshared(Unshared::Failed) => {}
                // What one viewer is refused another may have: some have credentials.
                Answer::Unshared(Unshared::Private | Unshared::Refused(_)) if follows && needs => {}
                Answer::Unshared(Unshared::Private | Unshared::Refused(_)) | Answer::Stored(_) => {
                    return Err(Missed::Failed);
                }
            }
        }
        Err(Missed::Failed)
    }

    async fn lead(&self, lead: Lead, index: u64) -> (Participant, Answer) {
        let participant = lead.participate();
        let (edge, policy) = (Arc::clone(&self.edge), Arc::clone(&self.policy));
        let recorder = Recorder::new(lead, edge, policy, self.key.clone(), self.key.clone());
        self.asks.ask(recorder, Arc::clone(&self.stored), index, self.headers.clone(), &self.runtime);
        let answer = participant.answer().await;
        (participant, answer)
    }
}

/// A slice of an object, if it is stored.
pub(crate) fn slice_at_hand(
    edge: &EdgeInner,
    key: &KeyBuf,
    stored: &Stored,
    index: u64,
) -> Option<Arc<Stored>> {
    let key = key.for_slice(stored.generation()?.id, index);
    let slice = edge.store.get(&key)?.variants().first().cloned()?;
    edge.log.is_current(slice.subject(key.as_bytes())).then_some(slice)
}

impl fmt::Debug for Slicing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slicing").field("stored", &self.stored).finish_non_exhaustive()
    }
}

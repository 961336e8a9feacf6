//! How other edges learn what writes through an edge invalidate: [`tell`].
//!
//! An edge puts that in force itself, before the log has it, and skips it when it reads it there: what a write left in the
//! store ([`Writes::Through`](crate::Writes::Through)) stays. So with `w` for the write, `r` for its rules on this edge, and
//! `n` for its record's place in the log, nothing older than `w` may come into this edge's store as of `r` or later, since
//! nothing would clear it. Nor may this edge say that it has come to `n` before `r` is in force.
//!
//! **Who asks the origin** gets what is as new as `w`, whose answer has come.
//!
//! **Who asks a parent** need not: `w` may have gone past it (another parent had its turn, or failed), and of `n` it may not
//! have read yet. The child's position says that (`tier`), but before it has read `n` the child has none that does:
//! 1. The outbox is opened, the rules are put in, `r` comes into force, the outbox is shut. Nobody looks into it meanwhile.
//! 2. A fill registers. If it is as of `r` or later, it sees something in the outbox, or that which has come of it.
//! 3. It asks the parent. While what is in the outbox, waiting or on its way, may be about its URI, the child says that it is
//!    [nowhere](super::Position::NOWHERE) its parent could have come to: the origin answers for the parent, and for the parent's
//!    parent, and nothing is stored there.
//! 4. The record is read back. First the child [has begun](super::Progress::begun) with `n`, then the outbox is emptied. A fill
//!    that finds it so says `n` or later, and the parent has put `n` in force or does as in 3.
//!
//! A fill of before `r` may bring what is old: by `r` it goes, as without any log.
//!
//! **Who is a parent** says `applied` at `n` when it has read it, which is after 1: `r` is in force, and by the above nothing
//! older has come in since. On the parents that `w` passed through its rules came into force before its answer went on; they
//! do not tell of it, since the child does, and apply `n` like anybody else's record.
//!
//! **Where the log lost it**, or the edge started over past it, it is not read back: it is appended again. Twice it does no
//! harm, since all of it is hard. In which order it comes with what others append is for the log to say; whatever anybody
//! appends when `w` has been told comes behind.

use tokio::time::timeout;

use super::backoff::Backoff;
use super::record::MAX_NAME;
use super::{Bus, BusError, FollowerSettings, Record};
use crate::edge::Edge;
use crate::invalidation::{Invalidation, Scope};

/// Appends what is in the edge's outbox, as one record at a time, and each until it has been read back.
pub(super) async fn tell(
    edge: &Edge,
    bus: &dyn Bus,
    follower: &str,
    settings: &FollowerSettings,
    in_trouble: impl Fn(BusError),
) {
    let outbox = &edge.0.outbox;
    let mut backoff = Backoff::new(settings);
    loop {
        let id = super::random();
        let scopes = outbox.next(id).await;
        let record =
            |scopes| Record::new(id, author(follower), edge.0.clock.wall(), Invalidation::by_writes(scopes));
        let record = record(scopes).or_else(|_| record(vec![Scope::All]));
        let record = record.expect("everything, by an author of a name that fits, is a record");
        loop {
            // What failed may have been done; what was done may be lost with its log.
            let patience = match bus.append(&record).await {
                Ok(_) => settings.heartbeat,
                Err(error) => {
                    in_trouble(error);
                    backoff.next()
                }
            };
            if timeout(patience, outbox.arrived(id)).await.is_ok() {
                break;
            }
        }
        backoff.reset();
    }
}

/// By whom a follower's records are: by its [id](super::Follower::id), which no other run has.
pub(super) fn author(follower: &str) -> &str {
    // Names are ASCII, and what is random is at the end.
    follower.get(follower.len().saturating_sub(MAX_NAME)..).unwrap_or(follower)
}

//! What a 304, and the answer to a HEAD, say about what is stored (RFC 9111 §4.3.4, §4.3.5).

use std::sync::Arc;
use std::time::Duration;

use http::header::VARY;
use http::{HeaderMap, StatusCode};

use super::judge::Decision;
use super::recorder::Recorder;
use crate::invalidation::label;
use crate::semantics::storable::NotStored;
use crate::semantics::validation::{self, Freshens};
use crate::store::{Head, Stored};

impl Recorder {
    /// What a 304 makes fresh (RFC 9111 §4.3.4).
    pub(super) fn not_modified(&self, fields: &HeaderMap, sent: &HeaderMap, asked: Duration) -> Decision {
        let Some(base) = &self.base else { return Decision::Unknown };
        let verdict = validation::freshens(&base.head.validators(), fields);
        if verdict == Freshens::No {
            // The origin speaks of another response than the one it was asked about. If that is this request's own, it is
            // good for those who asked now, but nothing is known of its future.
            return match &self.stored {
                Some(stored) => Decision::Refreshed(Arc::clone(stored), HeaderMap::new()),
                None => {
                    // Asked about it again, the origin would say the same again.
                    self.edge.store.remove(&self.key.to_key(), base);
                    Decision::Unknown
                }
            };
        }
        match self.freshened(base, fields, sent, asked) {
            Ok((head, own)) => {
                if verdict == Freshens::Strong {
                    self.freshen_others(base, fields, sent, asked);
                }
                let stored = base.under(Arc::new(head), self.stamp.as_of());
                Decision::Refreshed(Arc::new(stored), own)
            }
            Err(why) => {
                // RFC 9111 §3.5: what one viewer with credentials was told is no news of what others have.
                if why != NotStored::Authorization {
                    self.edge.store.remove(&self.key.to_key(), base);
                }
                Decision::Refreshed(Arc::clone(base), HeaderMap::new())
            }
        }
    }

    fn freshened(
        &self,
        base: &Stored,
        fields: &HeaderMap,
        sent: &HeaderMap,
        asked: Duration,
    ) -> Result<(Head, HeaderMap), NotStored> {
        let mut merged = validation::freshen(&base.head.fields.unpack(), fields);
        let max_length = if base.is_sliced() { u64::MAX } else { self.max_length() };
        let (mut head, own) =
            self.head_of(base.head.status, &mut merged, sent, Some(base.total()), asked, max_length)?;
        // The stored tags are no longer among the fields. Those of the 304 replace them, if it has any.
        if !self.names_tags(fields) {
            let kept = base.head.labels.iter().filter(|label| label::is_tag(label));
            let groups = head.labels.iter().filter(|label| !label::is_tag(label));
            head.labels = kept.chain(groups).cloned().collect();
        }
        Ok((head, own))
    }

    /// RFC 9111 §4.3.4: a strong validator freshens every stored response that has it.
    fn freshen_others(&self, base: &Arc<Stored>, fields: &HeaderMap, sent: &HeaderMap, asked: Duration) {
        let Some(slot) = self.edge.store.get(&self.key) else { return };
        for other in slot.variants() {
            if Arc::ptr_eq(other, base)
                || !other.is_whole()
                || !self.edge.log.is_current(other.subject(self.key.as_bytes()))
                || validation::freshens(&other.head.validators(), fields) != Freshens::Strong
            {
                continue;
            }
            // Which requests the other response is for is known from its own request only, and only as long as the
            // origin chooses by the same fields.
            if let Ok((head, _)) = self.freshened(other, fields, sent, asked)
                && head.fields.get_all(&VARY).eq(other.head.fields.get_all(&VARY))
            {
                let head = Head { vary: other.head.vary.clone(), ..head };
                let stored = other.under(Arc::new(head), self.stamp.as_of());
                self.insert(&Arc::new(stored));
            }
        }
    }

    /// What a HEAD's answer says about the stored GET (RFC 9111 §4.3.5).
    pub(crate) fn head_answered(
        mut self: Box<Self>,
        response: &mut http::response::Parts,
        sent: &HeaderMap,
        asked: Duration,
    ) {
        let Some(base) = self.stored.clone() else { return };
        self.take_hints(&mut response.extensions);
        if response.status != StatusCode::OK || base.head.status != StatusCode::OK {
            return;
        }
        let freshened = match validation::describes(&base.head.fields.unpack(), &response.headers) {
            true => self.freshened(&base, &response.headers, sent, asked),
            false => Err(NotStored::Status),
        };
        match freshened {
            Ok((head, _)) => {
                let stored = base.under(Arc::new(head), self.stamp.as_of());
                self.publish(&Arc::new(stored));
            }
            Err(NotStored::Authorization) => {}
            // The object is another by now, or is no longer to be stored.
            Err(_) => self.edge.store.remove(&self.key.to_key(), &base),
        }
    }
}

//! What an edge says of itself in a shared response, `Age` and `Cache-Status`: spelled once a second for an object that is
//! asked for often.

use bytes::Bytes;
use http::HeaderValue;
use smallvec::SmallVec;

use crate::outcome::Outcome;
use crate::sync::Mutex;

/// The values of the two fields, in one allocation.
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    pub(crate) age: HeaderValue,
    pub(crate) status: HeaderValue,
}

impl Signature {
    /// `upstream` is what `Cache-Status` said before.
    pub(crate) fn spell(name: &str, upstream: Option<&HeaderValue>, outcome: &Outcome, age: u64) -> Self {
        let mut text = SmallVec::<[u8; 64]>::new();
        text.extend_from_slice(itoa::Buffer::new().format(age).as_bytes());
        let digits = text.len();
        spell_status(name, upstream, outcome, |bytes| text.extend_from_slice(bytes));
        let text = Bytes::from_owner(text);
        let value = |bytes| HeaderValue::from_maybe_shared(bytes).expect("digits, a checked name and tokens");
        Self { age: value(text.slice(..digits)), status: value(text.slice(digits..)) }
    }
}

/// Spells `Cache-Status`: the upstream's members, then the edge's own (RFC 9211 §2).
pub(crate) fn spell_status(
    name: &str,
    upstream: Option<&HeaderValue>,
    outcome: &Outcome,
    mut write: impl FnMut(&[u8]),
) {
    if let Some(upstream) = upstream {
        write(upstream.as_bytes());
        write(b", ");
    }
    write(name.as_bytes());
    outcome.spell(|text| write(text.as_bytes()));
}

/// The signature that was last spelled for an object. Belongs to it, so that the name and the upstream's members need
/// no comparing.
#[derive(Debug, Default)]
pub(crate) struct LastSignature(Mutex<Option<(u64, Outcome, Signature)>>);

impl LastSignature {
    /// The last signature, if it is good for this age and outcome, or a new one. Nobody waits: whoever finds another at
    /// it spells for himself.
    pub(crate) fn get(&self, age: u64, outcome: &Outcome, spell: impl FnOnce() -> Signature) -> Signature {
        let Some(mut last) = self.0.try_lock() else {
            return spell();
        };
        match &*last {
            Some((its_age, its_outcome, signature)) if *its_age == age && its_outcome == outcome => {
                signature.clone()
            }
            _ => {
                let signature = spell();
                *last = Some((age, *outcome, signature.clone()));
                signature
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Detail, ForwardReason};

    #[test]
    fn a_signature_names_the_edge_after_those_upstream() {
        let upstream = HeaderValue::from_static("a; hit, b; fwd=miss");
        for (upstream, outcome, age, status) in [
            (None, Outcome::hit(9), 1, "edge; hit; ttl=9"),
            (Some(&upstream), Outcome::hit(-1), 61, "a; hit, b; fwd=miss, edge; hit; ttl=-1"),
            (None, Outcome::forward(ForwardReason::Stale), u64::MAX, "edge; fwd=stale"),
        ] {
            let signature = Signature::spell("edge", upstream, &outcome, age);
            assert_eq!(signature.status, status);
            assert_eq!(signature.age, age.to_string());
        }
    }

    #[test]
    fn a_signature_is_used_again_only_for_the_same_age_and_outcome() {
        let last = LastSignature::default();
        let hit = Outcome::hit(9);
        for (age, outcome, again) in [
            (1, hit, false),
            (1, hit, true),
            (2, hit, false),
            (2, Outcome::hit(8), false),
            (2, hit.because(Detail::MaxStale), false),
            (2, hit.because(Detail::MaxStale), true),
        ] {
            let mut spelled = false;
            let signature = last.get(age, &outcome, || {
                spelled = true;
                Signature::spell("edge", None, &outcome, age)
            });
            assert_eq!(spelled, !again);
            assert_eq!(signature.age, age.to_string());
            assert_eq!(signature.status, format!("edge{outcome}"));
        }
    }

    #[test]
    fn nobody_waits_for_a_signature() {
        let last = LastSignature::default();
        let outcome = Outcome::hit(9);
        let spell = |age| Signature::spell("edge", None, &outcome, age);
        let outer = last.get(1, &outcome, || {
            assert_eq!(last.get(2, &outcome, || spell(2)).age, "2");
            spell(1)
        });
        assert_eq!(outer.age, "1");
    }
}

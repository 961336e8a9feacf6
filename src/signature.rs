//! What an edge says of itself in a shared response: `Age` and `Cache-Status`.

use std::ops::Range;

use smallvec::{Array, SmallVec};

use crate::outcome::Outcome;

/// What is to be said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signature<'a> {
    /// The edge's.
    pub(crate) name: &'a str,
    pub(crate) outcome: &'a Outcome,
    pub(crate) age: u64,
}

/// Where the values of the two fields stand in a text.
#[derive(Debug)]
pub(crate) struct Spelled {
    pub(crate) age: Range<usize>,
    pub(crate) status: Range<usize>,
}

impl Signature<'_> {
    /// Appends the two values to a text. `upstream` is what `Cache-Status` said before.
    pub(crate) fn spell<A: Array<Item = u8>>(&self, upstream: &[u8], text: &mut SmallVec<A>) -> Spelled {
        let start = text.len();
        text.extend_from_slice(itoa::Buffer::new().format(self.age).as_bytes());
        let middle = text.len();
        spell_status(self.name, upstream, self.outcome, |bytes| text.extend_from_slice(bytes));
        Spelled { age: start..middle, status: middle..text.len() }
    }

    /// About as many bytes as that appends.
    pub(crate) fn room(&self, upstream: usize) -> usize {
        upstream + self.name.len() + 64
    }
}

/// Spells `Cache-Status`: the upstream's members, then the edge's own (RFC 9211 §2).
pub(crate) fn spell_status(name: &str, upstream: &[u8], outcome: &Outcome, mut write: impl FnMut(&[u8])) {
    if !upstream.is_empty() {
        write(upstream);
        write(b", ");
    }
    write(name.as_bytes());
    outcome.spell(|text| write(text.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::ForwardReason;

    #[test]
    fn a_signature_names_the_edge_after_those_upstream() {
        for (upstream, outcome, age, status) in [
            ("", Outcome::hit(9), 1, "edge; hit; ttl=9"),
            ("a; hit, b; fwd=miss", Outcome::hit(-1), 61, "a; hit, b; fwd=miss, edge; hit; ttl=-1"),
            ("", Outcome::forward(ForwardReason::Stale), u64::MAX, "edge; fwd=stale"),
        ] {
            let signature = Signature { name: "edge", outcome: &outcome, age };
            let mut text = SmallVec::<[u8; 64]>::from_slice(b"before");
            let spelled = signature.spell(upstream.as_bytes(), &mut text);
            assert_eq!(text[spelled.status], *status.as_bytes());
            assert_eq!(text[spelled.age], *age.to_string().as_bytes());
        }
    }
}

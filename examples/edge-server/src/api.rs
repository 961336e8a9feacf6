//! What the control port and its client say to each other, as `control/openapi.json` describes it.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Deserialize as DeriveDeserialize, Serialize};

/// What is to be cleared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, DeriveDeserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct InvalidationRequest {
    pub(crate) paths: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) all: bool,
    /// Whose paths, groups and everything. Tags are of every host.
    pub(crate) host: Option<String>,
    pub(crate) soft: bool,
    pub(crate) reference: Option<String>,
}

/// A JSON object, and nothing else: a derived `Deserialize` would read a struct from an array, too.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Fields(std::marker::PhantomData)).map(Self)
    }
}

/// What became of an invalidation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DeriveDeserialize)]
pub(crate) struct Receipt {
    pub(crate) id: String,
    pub(crate) reference: Option<String>,
    /// RFC 3339
    pub(crate) created: String,
    pub(crate) state: State,
    pub(crate) soft: bool,
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    pub(crate) fills_revoked: u64,
    pub(crate) charge: Charge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, DeriveDeserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    InProgress,
    Completed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, DeriveDeserialize)]
pub(crate) struct Charge {
    pub(crate) paths: u64,
    pub(crate) billed_paths: u64,
    /// Millionths of a US dollar, as all money here.
    pub(crate) amount_micro_usd: u64,
}

/// Receipts, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DeriveDeserialize)]
pub(crate) struct Receipts {
    pub(crate) invalidations: Vec<Receipt>,
    /// The `before` of the next page.
    pub(crate) next: Option<String>,
}

/// What this month's invalidations come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DeriveDeserialize)]
pub(crate) struct Usage {
    /// Such as 2026-11, UTC.
    pub(crate) month: String,
    pub(crate) paths: u64,
    pub(crate) free_paths: u64,
    pub(crate) price_micro_usd: u64,
    pub(crate) amount_micro_usd: u64,
    pub(crate) budget_micro_usd: Option<u64>,
}

/// [`tower_edge::Stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, DeriveDeserialize)]
pub(crate) struct Stats {
    pub(crate) requests: u64,
    pub(crate) hits: u64,
    pub(crate) stale_hits: u64,
    pub(crate) misses: u64,
    pub(crate) revalidations: u64,
    pub(crate) collapsed: u64,
    pub(crate) passed: u64,
    pub(crate) stored: u64,
    pub(crate) refreshed: u64,
    pub(crate) not_stored: u64,
    pub(crate) prefetched: u64,
    pub(crate) failed_bodies: u64,
    pub(crate) invalidations: u64,
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    pub(crate) fills: u64,
    pub(crate) bytes_in_flight: u64,
}

/// What is stored for a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DeriveDeserialize)]
pub(crate) struct Objects {
    pub(crate) url: String,
    pub(crate) stored: bool,
    pub(crate) objects: Vec<StoredObject>,
}

/// One stored response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DeriveDeserialize)]
pub(crate) struct StoredObject {
    pub(crate) status: u16,
    /// Seconds.
    pub(crate) age: u64,
    /// Seconds of freshness left, negative when stale.
    pub(crate) ttl: i64,
    pub(crate) softly_invalidated: bool,
    /// Bytes of the whole body.
    pub(crate) size: u64,
    /// Of a part: its first byte and the one after its last.
    pub(crate) part: Option<Part>,
    /// What it takes of the capacity.
    pub(crate) weight: u64,
    pub(crate) tags: Vec<String>,
    pub(crate) groups: Vec<String>,
    /// By what it varies.
    pub(crate) vary: Vec<Field>,
    /// The request's fields in its key.
    pub(crate) key_fields: Vec<Field>,
    pub(crate) content_type: Option<String>,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, DeriveDeserialize)]
pub(crate) struct Part {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// A field of the request that a response was fetched for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DeriveDeserialize)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// `None` if it was absent, or is withheld.
    pub(crate) value: Option<String>,
    /// It identifies somebody, so its value is told nobody.
    pub(crate) withheld: bool,
}

/// What went wrong (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DeriveDeserialize)]
pub(crate) struct Problem {
    pub(crate) title: String,
    pub(crate) status: u16,
    pub(crate) detail: String,
    /// Which part of the body is wrong: a fragment that holds a JSON pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<String>,
    /// The byte of that part at which it goes wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<usize>,
}

/// A distribution, as one of its edges knows it.
#[derive(Clone, Debug, PartialEq, Serialize, DeriveDeserialize)]
pub(crate) struct Distribution {
    /// Up to where this edge has applied the log.
    pub(crate) applied: Option<String>,
    /// Whether it uses what it has stored without asking the origin.
    pub(crate) trusted: bool,
    /// Why the log is out of reach, while it is.
    pub(crate) trouble: Option<String>,
    /// How often it treated everything as invalidated, since nobody could tell what was.
    pub(crate) resets: u64,
    /// None if the log is out of reach.
    pub(crate) edges: Vec<Member>,
}

/// An edge on the roll of a distribution.
#[derive(Clone, Debug, PartialEq, Serialize, DeriveDeserialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) applied: Option<String>,
    /// It gets no more viewers, and answers those that it has.
    pub(crate) draining: bool,
    /// Seconds ago.
    pub(crate) heard: f64,
}

/// What became of an invalidation of every edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DeriveDeserialize)]
pub(crate) struct DistributionReceipt {
    pub(crate) id: String,
    pub(crate) reference: Option<String>,
    pub(crate) created: String,
    pub(crate) position: Option<String>,
    pub(crate) state: State,
    /// Why nothing is known of the edges.
    pub(crate) trouble: Option<String>,
    pub(crate) edges: Vec<EdgeProgress>,
}

/// How far an edge has got with an invalidation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DeriveDeserialize)]
pub(crate) struct EdgeProgress {
    pub(crate) name: String,
    pub(crate) state: String,
}

/// Where a viewer should go.
#[derive(Clone, Debug, PartialEq, Serialize, DeriveDeserialize)]
pub(crate) struct Nearest {
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) at: [f64; 2],
    pub(crate) kilometres: f64,
    pub(crate) url: Option<String>,
}

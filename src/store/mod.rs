//! What the edge remembers: responses by key, weighed in the bytes they really hold.

mod fields;
mod maps;
mod memo;
mod memory;
mod names;
mod slot;
mod stored;

pub(crate) use self::fields::Fields;
pub(crate) use self::maps::Heat;
pub(crate) use self::memo::{Memos, Uncacheable};
pub(crate) use self::memory::MemoryStore;
pub(crate) use self::slot::Selected;
pub(crate) use self::stored::{Blocks, Head, Stored};

#[cfg(test)]
pub(crate) mod test_support {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};
    use smallvec::smallvec;

    use super::{Blocks, Fields, Head, Heat, Stored};
    use crate::key::KeyBuf;
    use crate::semantics::freshness::{Source, Terms};

    pub(crate) fn key(uri: &str) -> KeyBuf {
        KeyBuf::of_uri(&uri.parse().unwrap(), &HeaderMap::new(), false).unwrap()
    }

    pub(crate) fn stored(order: u64, length: usize) -> Arc<Stored> {
        let head = Head {
            status: StatusCode::OK,
            fields: Fields::pack(&HeaderMap::new()),
            vary: Default::default(),
            labels: Box::default(),
            terms: Terms {
                lifetime: Duration::from_secs(60),
                source: Source::MaxAge,
                initial_age: Duration::ZERO,
                always_validate: false,
                while_revalidate: Duration::ZERO,
                if_error: Duration::ZERO,
                if_disconnected: Duration::ZERO,
                stale_forbidden: false,
            },
            received: Duration::ZERO,
            received_wall: SystemTime::UNIX_EPOCH,
            joinable: true,
            order,
            heat: Heat::default(),
        };
        Arc::new(Stored::new(Arc::new(head), Blocks::new(smallvec![Bytes::from(vec![0; length])]), 0))
    }
}

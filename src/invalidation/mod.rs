//! Clearing stored objects: [`Invalidator`], [`Invalidation`], [`Receipt`].
//!
//! An invalidation is in force when the call returns: no request that starts afterwards sees an answer whose fetch
//! from the origin began before. Removing the objects from memory is the work of a sweep in the background, which the
//! receipt reports.
//!
//! ```
//! use tower_edge::{Edge, Invalidation};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let edge = Edge::builder().build()?;
//! let invalidator = edge.invalidator();
//! let receipt = invalidator.invalidate(Invalidation::paths(["/index.html", "/news/*"])?)?;
//! assert_eq!(receipt.charge().paths, 2);
//! assert_eq!(invalidator.usage().amount, 0);
//! # Ok(())
//! # }
//! ```

mod check;
pub(crate) mod label;
mod log;
mod meter;
mod outbox;
mod receipt;
mod request;
mod rules;
mod scope;
pub(crate) mod sweep;

use std::time::SystemTime;

#[cfg(feature = "faults")]
pub use self::check::Check;
#[cfg(not(feature = "faults"))]
pub(crate) use self::check::Check;
pub(crate) use self::check::LeftOut;
pub(crate) use self::log::{Log, Registration, Stamp, Subject};
pub(crate) use self::meter::Meter;
pub use self::meter::{Charge, InvalidateError, Tariff, Usage};
pub(crate) use self::outbox::Outbox;
pub(crate) use self::receipt::History;
pub use self::receipt::{InvalidationState, Receipt};
pub use self::request::{Invalidation, ScopeError};
pub(crate) use self::request::{Queried, checked_tag, parse_url};
pub(crate) use self::scope::{Prefix, Scope};
use crate::edge::Edge;
use crate::sync::Mutex;

/// A handle that clears objects of an edge. Cheap to clone; works wherever it is called from.
#[derive(Clone, Debug)]
pub struct Invalidator {
    edge: Edge,
}

/// What an edge remembers of its invalidations.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) history: History,
    meter: Meter,
    /// One invalidation is checked, charged and entered at a time.
    entering: Mutex<()>,
}

impl Ledger {
    pub(crate) fn new(tariff: Tariff) -> Self {
        Self { history: History::default(), meter: Meter::new(tariff), entering: Mutex::default() }
    }
}

impl Invalidator {
    pub(crate) fn new(edge: Edge) -> Self {
        Self { edge }
    }

    /// Puts an invalidation in force. When this returns, nothing it names that was fetched before is served again (or,
    /// if it is soft, is served as fresh).
    ///
    /// # Errors
    /// If it names nothing, or the [`Tariff`] does not allow it; then nothing is invalidated.
    pub fn invalidate(&self, invalidation: Invalidation) -> Result<Receipt, InvalidateError> {
        let edge = &self.edge.0;
        let Ledger { history, meter, entering } = &edge.ledger;
        if invalidation.scopes.is_empty() {
            return Err(InvalidateError::Empty);
        }
        let _entering = entering.lock();
        let reference = invalidation.reference.as_deref();
        if let Some(receipt) = reference.and_then(|reference| history.by_reference(reference)) {
            return Ok(receipt);
        }
        let created = edge.clock.wall();
        let counted = (invalidation.paths, invalidation.wildcards);
        let charge = meter.charge(counted, history.in_progress(), created)?;
        Ok(self.enter(invalidation, created, charge))
    }

    /// Puts in force what was decided, and charged for, elsewhere. It cannot be refused here.
    pub(crate) fn apply(&self, invalidation: Invalidation) -> Receipt {
        let edge = &self.edge.0;
        let _entering = edge.ledger.entering.lock();
        self.enter(invalidation, edge.clock.wall(), Charge::default())
    }

    fn enter(&self, invalidation: Invalidation, created: SystemTime, charge: Charge) -> Receipt {
        let Invalidation { mut scopes, queries, paths, wildcards, soft, reference } = invalidation;
        let edge = &self.edge.0;
        // As they are stored: a policy may leave parameters out of the key.
        scopes.extend(queries.iter().flat_map(|named| named.as_keyed(|uri| &edge.policy_for(uri).key)));
        let number = edge.log.append(scopes, soft.then(|| edge.clock.elapsed()));
        let entry = receipt::Entry { number, reference, created, paths, wildcards, soft, charge };
        let receipt = edge.ledger.history.add(entry);
        edge.counters.invalidated();
        sweep::start(edge.state());
        receipt
    }

    /// The receipts of the last invalidations, newest first. Writes have none.
    pub fn history(&self) -> Vec<Receipt> {
        self.edge.0.ledger.history.all()
    }

    /// The receipt with this id.
    pub fn receipt(&self, id: &str) -> Option<Receipt> {
        self.edge.0.ledger.history.get(id)
    }

    /// The receipt under a caller's reference.
    pub fn receipt_of(&self, reference: &str) -> Option<Receipt> {
        self.edge.0.ledger.history.by_reference(reference)
    }

    /// What this month's invalidations come to.
    pub fn usage(&self) -> Usage {
        self.edge.0.ledger.meter.usage(self.edge.0.clock.wall())
    }
}

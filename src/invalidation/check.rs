//! The places where the log is asked before something is used, and how this crate's own tests leave one out: a test that
//! never sees what it looks for shows nothing.

/// A place where the log is asked whether something may still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "faults"), allow(unreachable_pub, reason = "it is public with the feature"))]
pub enum Check {
    /// A request has found a stored response.
    Lookup,
    /// A fill is about to put its answer into the store.
    Publish,
    /// A request is about to join a fill in flight.
    Join,
    /// Another edge asks, and has come to a position of the log that this one may not have come to.
    Position,
}

/// The checks that say yes whatever the log says. Without the feature `faults` there are none, and nothing is looked up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LeftOut {
    #[cfg(feature = "faults")]
    checks: [bool; 4],
}

impl LeftOut {
    #[cfg(feature = "faults")]
    pub(crate) fn add(&mut self, check: Check) {
        self.checks[check as usize] = true;
    }

    #[cfg(feature = "faults")]
    pub(crate) fn has(self, check: Check) -> bool {
        self.checks[check as usize]
    }

    #[cfg(not(feature = "faults"))]
    #[inline(always)]
    pub(crate) fn has(self, _: Check) -> bool {
        false
    }
}

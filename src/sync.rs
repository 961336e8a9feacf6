//! What threads meet at: locks and atomics of the concurrent core.
//!
//! The locks go on after a panic: what they guard is put right by guards of its own, not by poisoning.
//!
//! They are `std`'s. Only where the scenes of `race` are tried, under `--cfg shuttle`, they are shuttle's, which decides
//! at each of them who goes on.

#[cfg(not(all(test, shuttle)))]
use std::sync as primitive;

#[cfg(all(test, shuttle))]
use shuttle::sync as primitive;

#[cfg(not(all(test, shuttle)))]
pub(crate) use tokio::time::timeout;

pub(crate) use self::primitive::{MutexGuard, atomic};
use self::primitive::{PoisonError, RwLockReadGuard, RwLockWriteGuard, TryLockError};

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(primitive::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(primitive::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks unless somebody else does.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        at_once(self.0.try_lock())
    }
}

fn at_once<G>(tried: Result<G, TryLockError<G>>) -> Option<G> {
    match tried {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(primitive::RwLock<T>);

impl<T> RwLock<T> {
    #[cfg(feature = "maxmind")]
    pub(crate) fn new(value: T) -> Self {
        Self(primitive::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks for reading unless somebody writes.
    pub(crate) fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        at_once(self.0.try_read())
    }

    /// Locks for writing unless somebody else has it locked.
    pub(crate) fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        at_once(self.0.try_write())
    }
}

/// There no time passes: who waits has to be told, and nobody is saved by a limit.
#[cfg(all(test, shuttle))]
pub(crate) async fn timeout<F: Future>(
    _: std::time::Duration,
    future: F,
) -> Result<F::Output, std::convert::Infallible> {
    Ok(future.await)
}

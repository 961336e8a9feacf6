//! A log whose news can be held up on its way to one edge, and what the edge appends on its way to the log.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tower_edge::distribution::bus::{
    Bus, BusError, BusFuture, BusReader, Incarnation, Local, Position, Read, Record, Report, Roll,
};

/// The way of one edge to a log.
pub(crate) struct Held {
    bus: Arc<Local>,
    held: watch::Sender<bool>,
    appends: AtomicU8,
}

/// What becomes of what is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Appends {
    Work,
    Fail,
    /// They are done, and nobody says so.
    LoseTheAnswer,
    /// They are done, says a log that then is lost.
    LoseTheRecord,
}

impl Held {
    pub(crate) fn on(bus: &Arc<Local>) -> Arc<Self> {
        Arc::new(Self { bus: Arc::clone(bus), held: watch::Sender::new(false), appends: AtomicU8::new(0) })
    }

    /// News stays on its way until this is told otherwise.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    pub(crate) fn append_as(&self, appends: Appends) {
        self.appends.store(appends as u8, Ordering::SeqCst);
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl Bus for Held {
    fn append<'a>(&'a self, record: &'a Record) -> BusFuture<'a, Position> {
        Box::pin(async move {
            let appends = self.appends.load(Ordering::SeqCst);
            let is = |what| appends == what as u8;
            if is(Appends::Fail) {
                return Err(BusError::unreachable("cut"));
            }
            if is(Appends::LoseTheRecord) {
                let Roll { incarnation, .. } = self.bus.roll().await?;
                return Ok(Position { incarnation, number: 1_000 });
            }
            let position = self.bus.append(record).await?;
            if is(Appends::LoseTheAnswer) { Err(BusError::unreachable("cut")) } else { Ok(position) }
        })
    }

    fn reader(&self) -> BusFuture<'_, Box<dyn BusReader>> {
        let held = self.held.subscribe();
        Box::pin(async move {
            let reader = self.bus.reader().await?;
            Ok(Box::new(HeldReader { reader, held }) as Box<dyn BusReader>)
        })
    }

    fn report<'a>(&'a self, report: &'a Report) -> BusFuture<'a, ()> {
        self.bus.report(report)
    }

    fn leave<'a>(&'a self, id: &'a str) -> BusFuture<'a, ()> {
        self.bus.leave(id)
    }

    fn roll(&self) -> BusFuture<'_, Roll> {
        self.bus.roll()
    }

    fn renew(&self, seen: Incarnation) -> BusFuture<'_, ()> {
        self.bus.renew(seen)
    }
}

struct HeldReader {
    reader: Box<dyn BusReader>,
    held: watch::Receiver<bool>,
}

impl BusReader for HeldReader {
    fn read(&mut self, after: u64, patience: Duration) -> BusFuture<'_, Read> {
        Box::pin(async move {
            let read = self.reader.read(after, patience).await?;
            // Without its sender nobody holds it.
            let _ = self.held.wait_for(|held| !held).await;
            Ok(read)
        })
    }
}

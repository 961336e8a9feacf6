//! A log whose news can be held up on its way to one edge.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tower_edge::distribution::bus::{
    Bus, BusFuture, BusReader, Incarnation, Local, Position, Read, Record, Report, Roll,
};

/// The way of one edge to a log.
pub(crate) struct Held {
    bus: Arc<Local>,
    held: watch::Sender<bool>,
}

impl Held {
    pub(crate) fn on(bus: &Arc<Local>) -> Arc<Self> {
        Arc::new(Self { bus: Arc::clone(bus), held: watch::Sender::new(false) })
    }

    /// News stays on its way until this is told otherwise.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl Bus for Held {
    fn append<'a>(&'a self, record: &'a Record) -> BusFuture<'a, Position> {
        self.bus.append(record)
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

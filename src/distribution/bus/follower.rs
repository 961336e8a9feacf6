//! How an edge follows a log: [`Follower`].
//!
//! Four loops in one task. One reads, decides by [`step`] and applies; one waits for the sweeps of what was applied; one
//! reports both, at once and at least with every heartbeat; one [tells](telling) what writes through the edge invalidate.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Uri};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::backoff::Backoff;
use super::progress::Progress;
use super::settings::FollowerSettings;
use super::step::{Left, Step, step};
use super::{Bus, BusError, BusReader, Position, Read, Report, telling};
use crate::edge::Edge;
use crate::error::ConfigError;
use crate::invalidation::{Invalidation, Receipt, Scope};
use crate::name;
use crate::sync::Mutex;

/// Keeps an edge in step with a log, as long as it is held.
///
/// Dropping it is losing contact: the edge then does as [`FollowerSettings::without_contact`] says, and receipts wait for it
/// until it counts as silent. [`leave`](Self::leave) strikes it off at once.
pub struct Follower {
    inner: Arc<Inner>,
    task: AbortHandle,
}

struct Inner {
    edge: Edge,
    /// The same under the rules that count now: by them what is invalidated finds its keys.
    rules: Mutex<Edge>,
    bus: Arc<dyn Bus>,
    settings: FollowerSettings,
    id: String,
    progress: watch::Sender<Progress>,
    /// What was applied last, and its sweep.
    sweeping: watch::Sender<Option<(Position, Receipt)>>,
    contacts: Mutex<Contacts>,
    trouble: Mutex<Option<BusError>>,
}

/// When the last reading that brought the edge up to date began, and the last report that arrived.
#[derive(Debug, Default)]
struct Contacts {
    read: Option<Duration>,
    reported: Option<Duration>,
}

impl Follower {
    /// Has an edge follow a log from now on. Everything the edge holds is treated as invalidated first. One edge can follow
    /// one log at a time.
    ///
    /// # Errors
    /// If a setting cannot work, the edge follows a log already, or there is no tokio runtime to follow in.
    pub fn start(edge: &Edge, bus: Arc<dyn Bus>, settings: FollowerSettings) -> Result<Self, ConfigError> {
        settings.check()?;
        let runtime = Handle::try_current()
            .map_err(|_| ConfigError::new("follower", "is started outside a tokio runtime"))?;
        if !edge.0.outbox.follow(true) {
            return Err(ConfigError::new(
                "follower",
                format!("edge {:?} follows a log already", edge.0.name),
            ));
        }
        let id = format!("{}/{:016x}", name::plain(&edge.0.name), super::random());
        let inner = Arc::new(Inner {
            edge: edge.clone(),
            rules: Mutex::new(edge.clone()),
            bus,
            settings,
            id,
            progress: watch::Sender::default(),
            sweeping: watch::Sender::default(),
            contacts: Mutex::default(),
            trouble: Mutex::default(),
        });
        edge.0.contact.lose(inner.settings.without_contact);
        let following = Arc::clone(&inner);
        let task = runtime.spawn(async move {
            tokio::join!(following.read(), following.sweep(), following.report(), following.tell());
        });
        Ok(Self { inner, task: task.abort_handle() })
    }

    /// The edge.
    pub fn edge(&self) -> &Edge {
        &self.inner.edge
    }

    /// Goes on under other rules, where the edge was [reconfigured](Edge::reconfigured): a path with a query is looked for as
    /// they have it in the key. Says whether it is the same edge; another is not followed for.
    pub fn reconfigured(&self, edge: &Edge) -> bool {
        let is_same = Arc::ptr_eq(edge.0.state(), self.inner.edge.0.state());
        if is_same {
            *self.inner.rules.lock() = edge.clone();
        }
        is_same
    }

    /// What identifies this edge on the roll.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// How far it has come. Never waits for anything.
    pub fn progress(&self) -> Progress {
        *self.inner.progress.borrow()
    }

    /// Up to where the log is in force on the edge.
    pub fn applied(&self) -> Option<Position> {
        self.progress().applied
    }

    /// Up to where the log may be in force on the edge already.
    pub fn begun(&self) -> Option<Position> {
        self.progress().begun
    }

    /// How new what the edge asks another edge for has to be. Where no place in the log says it yet, as new as the origin:
    /// [why](telling).
    pub(crate) fn as_new_as(&self, uri: &Uri, headers: &HeaderMap) -> Option<Position> {
        let edge = &self.inner.edge.0;
        let exact =
            || edge.uri_scope(uri, headers).map(|of_uri| [of_uri, Scope::path(uri.path(), uri.query())]);
        // In this order: the log has come to what is no longer in the outbox.
        if edge.outbox.concerns(exact) { Some(Position::NOWHERE) } else { self.begun() }
    }

    /// Whether stored responses may be used as they are: there is contact, or the policy does not ask for it.
    pub fn is_trusted(&self) -> bool {
        let edge = &self.inner.edge.0;
        edge.contact.trust(edge.clock.elapsed()) == crate::contact::Trust::Full
    }

    /// What went wrong last, while it lasts.
    pub fn trouble(&self) -> Option<BusError> {
        self.inner.trouble.lock().clone()
    }

    /// Waits until the edge has reached the log and is on the roll: from then on every receipt counts it. Bound it with a
    /// time-out, since the log may be away.
    pub async fn joined(&self) {
        self.until(|progress| progress.is_on_roll && progress.applied.is_some()).await;
    }

    /// Waits until what is at `position` is in force on the edge. Bound it with a time-out: of another incarnation it
    /// never will be.
    pub async fn reached(&self, position: Position) {
        self.until(|progress| progress.applied.is_some_and(|applied| applied.has_reached(&position))).await;
    }

    async fn until(&self, holds: impl FnMut(&Progress) -> bool) {
        // The sender lives as long as this.
        let _ = self.inner.progress.subscribe().wait_for(holds).await.map(|_| ());
    }

    /// Whether the edge is to get nothing new, for which it says so on the roll. It goes on following, and receipts wait for
    /// it, until it [leaves](Self::leave).
    pub fn drain(&self, drains: bool) {
        self.inner.progress.send_modify(|progress| progress.is_draining = drains);
    }

    /// Stops following, and takes the edge off the roll: receipts no longer wait for it. For an edge that serves nobody any
    /// more.
    ///
    /// # Errors
    /// If the log cannot be reached; then receipts wait until the edge counts as silent.
    pub async fn leave(&self) -> Result<(), BusError> {
        self.inner.told().await;
        self.task.abort();
        // A report on its way would put the edge on the roll again.
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
        self.inner.edge.0.outbox.follow(false);
        self.inner.edge.0.contact.lose(self.inner.settings.without_contact);
        self.inner.bus.leave(&self.inner.id).await
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
        self.inner.edge.0.outbox.follow(false);
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("id", &self.id())
            .field("progress", &self.progress())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn now(&self) -> Duration {
        self.edge.0.clock.elapsed()
    }

    /// Follows the log, connection by connection.
    async fn read(&self) {
        let mut left = Left::default();
        let mut backoff = Backoff::new(&self.settings);
        loop {
            match self.bus.reader().await {
                Ok(mut reader) => {
                    let error = self.read_by(&mut *reader, &mut left, &mut backoff).await;
                    self.in_trouble(error);
                }
                Err(error) => self.in_trouble(error),
            }
            backoff.wait().await;
        }
    }

    async fn read_by(&self, reader: &mut dyn BusReader, left: &mut Left, backoff: &mut Backoff) -> BusError {
        // The first look is to see where the log stands.
        let mut patience = Duration::ZERO;
        let mut resets = 0u8;
        loop {
            let had = self.progress.borrow().applied;
            let began = self.now();
            let read = match reader.read(had.map_or(0, |had| had.number), patience).await {
                Ok(read) => read,
                Err(error) => return error,
            };
            let head = read.head;
            let before = self.progress.borrow().resets;
            let taken = self.take(had, left, read).await;
            resets = if self.progress.borrow().resets > before { resets + 1 } else { 0 };
            if resets > 1 {
                // A log that never gets in order is not followed as fast as it can be read.
                return BusError::Changed;
            }
            match taken {
                Ok(now_at) if now_at.number >= head => {
                    self.in_contact(|contacts| contacts.read = Some(began));
                    *self.trouble.lock() = None;
                    backoff.reset();
                    patience = self.settings.heartbeat;
                }
                Ok(_) => patience = Duration::ZERO,
                Err(error) => return error,
            }
        }
    }

    /// Acts on what was read, and says where the edge is then.
    async fn take(&self, had: Option<Position>, left: &mut Left, read: Read) -> Result<Position, BusError> {
        let incarnation = read.incarnation;
        match step(had, left, read) {
            Step::Reset { renew: true, .. } => {
                self.bus.renew(incarnation).await?;
                // The next reading is of what it is then.
                Err(BusError::Changed)
            }
            Step::Reset { why, to, renew: false } => {
                self.begins(to);
                let receipt = Some((to, self.apply(Invalidation::all())));
                if let Some(had) = had.filter(|had| had.incarnation != to.incarnation) {
                    left.add(had.incarnation);
                }
                self.applied(to, receipt, |progress| {
                    progress.resets += 1;
                    progress.last_reset = Some(why);
                });
                Ok(to)
            }
            Step::Apply(records) => {
                if let Some((last, _)) = records.last() {
                    self.begins(*last);
                }
                let mut unreadable = 0;
                let (mut last, mut receipt) = (None, None);
                for (position, record) in records {
                    last = Some(position);
                    let invalidation = match record {
                        // In force here since before it was told.
                        Ok(record) if record.author() == telling::author(&self.id) => {
                            self.edge.0.outbox.arrives(record.id());
                            continue;
                        }
                        Ok(record) => record.into_invalidation(),
                        // Nobody knows what it is about.
                        Err(_) => {
                            unreadable += 1;
                            Invalidation::all()
                        }
                    };
                    if invalidation.is_by_writes() {
                        self.edge.0.invalidate_as_told(invalidation.scopes);
                    } else {
                        receipt = Some((position, self.apply(invalidation)));
                    }
                }
                match last {
                    Some(position) => {
                        self.applied(position, receipt, |progress| progress.unreadable += unreadable);
                        Ok(position)
                    }
                    None => had.ok_or(BusError::Changed),
                }
            }
        }
    }

    /// Before the first rule is in force:
    /// 1. a fill that begins under it takes its answer to be newer than the record,
    /// 2. so another edge that is asked for it has to be told of the record.
    fn begins(&self, position: Position) {
        self.progress.send_modify(|progress| progress.begun = Some(position));
    }

    fn apply(&self, invalidation: Invalidation) -> Receipt {
        let edge = self.rules.lock().clone();
        edge.invalidator().apply(invalidation)
    }

    fn applied(
        &self,
        position: Position,
        receipt: Option<(Position, Receipt)>,
        more: impl FnOnce(&mut Progress),
    ) {
        self.progress.send_modify(|progress| {
            progress.applied = Some(position);
            more(progress);
        });
        if receipt.is_some() {
            self.sweeping.send_replace(receipt);
        }
    }

    /// Waits for the sweep of what was applied last, whatever comes meanwhile; that of what was before is then over, too.
    async fn sweep(&self) {
        let mut sweeping = self.sweeping.subscribe();
        loop {
            let last = sweeping.borrow_and_update().clone();
            if let Some((position, receipt)) = last {
                receipt.completed().await;
                self.progress.send_modify(|progress| progress.swept = Some(position));
            }
            // The sender lives as long as this.
            let _ = sweeping.changed().await;
        }
    }

    async fn report(&self) {
        let mut progress = self.progress.subscribe();
        let mut backoff = Backoff::new(&self.settings);
        loop {
            let Progress { applied, swept, is_on_roll, is_draining, .. } = *progress.borrow_and_update();
            let report = Report {
                id: self.id.clone(),
                name: name::plain(&self.edge.0.name),
                applied,
                swept,
                is_draining,
                trusts_for: self.settings.without_contact.trusts_for(),
            };
            let began = self.now();
            let due = Instant::now() + self.settings.heartbeat;
            if let Err(error) = self.bus.report(&report).await {
                self.in_trouble(error);
                backoff.wait().await;
                continue;
            }
            backoff.reset();
            self.in_contact(|contacts| contacts.reported = Some(began));
            if !is_on_roll && applied.is_some() {
                self.progress.send_modify(|progress| progress.is_on_roll = true);
            }
            let told = (applied, swept, is_draining);
            let news = progress
                .wait_for(|progress| (progress.applied, progress.swept, progress.is_draining) != told);
            let _ = timeout_at(due, news).await.map(|_| ());
        }
    }

    async fn tell(&self) {
        telling::tell(&self.edge, &*self.bus, &self.id, &self.settings, |error| self.in_trouble(error)).await;
    }

    /// Waits until the log has what writes have invalidated so far, but not for long.
    async fn told(&self) {
        let _ = timeout(self.settings.heartbeat, self.edge.0.outbox.emptied()).await;
    }

    fn in_contact(&self, note: impl FnOnce(&mut Contacts)) {
        let mut contacts = self.contacts.lock();
        note(&mut contacts);
        // Up to date, and known to be alive: else a receipt may be completed without this edge.
        if let Contacts { read: Some(read), reported: Some(reported) } = *contacts {
            self.edge.0.contact.touch(self.settings.without_contact, read.min(reported));
        }
    }

    fn in_trouble(&self, error: BusError) {
        *self.trouble.lock() = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::bus::{BusInvalidator, EdgeState, Local};
    use crate::invalidation::InvalidationState;

    #[tokio::test(start_paused = true)]
    async fn every_edge_applies_what_one_of_them_makes() {
        let bus = Arc::new(Local::new());
        let edges = ["fra-1", "1-nyc"].map(|name| Edge::builder().name(name).build().unwrap());
        let follow = |edge| Follower::start(edge, bus.clone(), FollowerSettings::default()).unwrap();
        let followers = edges.each_ref().map(follow);
        for follower in &followers {
            follower.joined().await;
        }
        let invalidator = BusInvalidator::new(bus.clone(), "test");
        let receipt = invalidator.invalidate(Invalidation::all()).await.unwrap();
        assert_eq!(receipt.state().await.unwrap().0, InvalidationState::InProgress);
        let states = receipt.completed().await.unwrap();
        assert_eq!(receipt.state().await.unwrap(), (InvalidationState::Completed, states.clone()));
        let states: Vec<_> = states.iter().map(|edge| (edge.name.as_str(), edge.state)).collect();
        assert_eq!(states, [("1-nyc", EdgeState::Swept), ("fra-1", EdgeState::Swept)], "as they are called");
        for (edge, follower) in edges.iter().zip(&followers) {
            assert_eq!(follower.applied(), receipt.position());
            assert_eq!(edge.invalidator().history().len(), 2, "the reset, and this");
        }
        let [fra, nyc] = followers;
        nyc.leave().await.unwrap();
        drop(fra);
        let receipt = invalidator.invalidate(Invalidation::all()).await.unwrap();
        let states = receipt.completed().await.unwrap();
        assert_eq!(states.iter().map(|edge| edge.state).collect::<Vec<_>>(), [EdgeState::Silent]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_edge_that_drains_says_so_at_once_and_is_waited_for_until_it_leaves() {
        let bus = Arc::new(Local::new());
        let edge = Edge::builder().name("fra-1").build().unwrap();
        let follower = Follower::start(&edge, bus.clone(), FollowerSettings::default()).unwrap();
        follower.joined().await;
        let invalidator = BusInvalidator::new(bus.clone(), "test");
        for drains in [true, false, true] {
            follower.drain(drains);
            // Long before a heartbeat.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let said: Vec<_> =
                bus.roll().await.unwrap().members.into_iter().map(|(said, _)| said.is_draining).collect();
            assert_eq!(said, [drains]);
            let receipt = invalidator.invalidate(Invalidation::all()).await.unwrap();
            let states = receipt.completed().await.unwrap();
            assert_eq!(states.iter().map(|edge| edge.state).collect::<Vec<_>>(), [EdgeState::Swept]);
        }
        follower.leave().await.unwrap();
        assert!(bus.roll().await.unwrap().members.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_edge_follows_one_log_at_a_time() {
        let edge = Edge::builder().name("fra-1").build().unwrap();
        let follow = || Follower::start(&edge, Arc::new(Local::new()), FollowerSettings::default());
        let follower = follow().unwrap();
        // Contact with the one would count as contact with the other.
        assert_eq!(follow().unwrap_err().setting(), "follower");
        follower.joined().await;
        assert!(edge.0.outbox.open().is_some(), "the first goes on");
        drop(follower);
        follow().unwrap().joined().await;
    }
}

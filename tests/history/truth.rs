//! What is true, and what a read may therefore see: the contents each object has had at the origin, in order, and a floor for
//! each, raised whenever an invalidation or a write returns.
//!
//! A read takes the floors down when it starts, and may see nothing from below them, whenever it ends:
//! - **Hard.** An invalidation returned at `t`. What the origin had replaced by `t` is never seen again, nor is anything out of
//!   an exchange with the origin that began before `t`. The same holds for what a write that succeeded, or of which nobody
//!   knows, is about. The answer of a write may itself be what is stored; that exchange is excepted, unless something else
//!   was invalidated while it lasted.
//! - **Soft.** What was last confirmed by an exchange that began before `t` is no fresh hit any more, and is served stale
//!   within its windows only, which begin at `t`.
//!
//! A tag or group covers the contents that have it: each has floors of its own, which count for those.

use std::time::Duration;

use crate::operation::{Invalidate, Scope};
use crate::site::{Content, GROUPS, LABELS, OBJECTS, TAGS};

#[derive(Debug)]
pub(crate) struct Truth {
    objects: Vec<History>,
    /// The number of the last exchange that began.
    exchanges: u64,
}

#[derive(Debug)]
struct History {
    /// The contents it has had, and whether there was something. The last is what it is now.
    contents: Vec<(u32, bool)>,
    floors: Floors,
    /// How often any of its floors was raised.
    raised: u64,
}

/// What a read that starts now must not go below.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Floors {
    whole: Floor,
    labels: [Floor; LABELS],
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Floor {
    hard: Hard,
    soft: Soft,
}

#[derive(Clone, Copy, Debug, Default)]
struct Hard {
    /// The content that was current, by its place among the object's contents.
    content: usize,
    /// Exchanges up to this one had begun.
    exchange: u64,
    /// But for this one.
    except: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Soft {
    exchange: u64,
    at: Duration,
}

/// What is covered by an invalidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Covered {
    Whole,
    Label(usize),
}

/// A write on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    object: usize,
    raised: u64,
}

/// Where a viewer's answer comes from, as far as it says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) content: Content,
    /// The exchange that brought or last confirmed it.
    pub(crate) exchange: u64,
    /// The exchange that brought its body.
    pub(crate) fetched: Option<u64>,
}

impl Truth {
    pub(crate) fn new() -> Self {
        // No operation makes the content 0.
        let object = || History { contents: vec![(0, true)], floors: Floors::default(), raised: 0 };
        Self { objects: OBJECTS.iter().map(|_| object()).collect(), exchanges: 0 }
    }

    /// An exchange with the origin begins.
    pub(crate) fn exchange(&mut self) -> u64 {
        self.exchanges += 1;
        self.exchanges
    }

    /// An object changes at the origin; `exists` says whether there is anything afterwards.
    pub(crate) fn change(&mut self, content: Content, exists: bool) {
        self.objects[content.object].contents.push((content.id, exists));
    }

    /// What the origin has now, and whether there is something.
    pub(crate) fn current(&self, object: usize) -> (Content, bool) {
        let contents = &self.objects[object].contents;
        let (id, exists) = contents[contents.len() - 1];
        (Content { object, id }, exists)
    }

    /// What it had before.
    pub(crate) fn previous(&self, object: usize) -> Content {
        let contents = &self.objects[object].contents;
        Content { object, id: contents[contents.len().saturating_sub(2)].0 }
    }

    /// Whether there was something when the object had this content.
    pub(crate) fn exists(&self, content: Content) -> Option<bool> {
        let contents = &self.objects[content.object].contents;
        contents.iter().find(|(id, _)| *id == content.id).map(|(_, exists)| *exists)
    }

    pub(crate) fn floors(&self, object: usize) -> Floors {
        self.objects[object].floors
    }

    /// A write begins.
    pub(crate) fn begin(&self, object: usize) -> Begun {
        Begun { object, raised: self.objects[object].raised }
    }

    /// A write succeeded, in this exchange; or nobody knows what became of it. What it names is invalidated besides.
    pub(crate) fn written(
        &mut self,
        begun: Begun,
        exchange: Option<u64>,
        others: impl Iterator<Item = Scope>,
    ) {
        let alone = self.objects[begun.object].raised == begun.raised;
        let except = exchange.filter(|_| alone).map(|exchange| (begun.object, exchange));
        for scope in others.chain([Scope::Url(begun.object)]) {
            self.raise_hard(scope, except);
        }
    }

    pub(crate) fn invalidated(&mut self, invalidate: &Invalidate, now: Duration) {
        for scope in &invalidate.scopes {
            if invalidate.soft {
                self.raise_soft(*scope, now);
            } else {
                self.raise_hard(*scope, None);
            }
        }
    }

    fn raise_hard(&mut self, scope: Scope, except: Option<(usize, u64)>) {
        let exchange = self.exchanges;
        for (object, history) in self.objects.iter_mut().enumerate() {
            let except = except.filter(|(of, _)| *of == object).map(|(_, exchange)| exchange);
            let content = history.contents.len() - 1;
            if let Some(covered) = covered(scope, object) {
                history.raised += 1;
                history.floors.of(covered).hard = Hard { content, exchange, except };
            }
        }
    }

    fn raise_soft(&mut self, scope: Scope, at: Duration) {
        let exchange = self.exchanges;
        for (object, history) in self.objects.iter_mut().enumerate() {
            if let Some(covered) = covered(scope, object) {
                history.raised += 1;
                history.floors.of(covered).soft = Soft { exchange, at };
            }
        }
    }

    /// Why a read that took down `floors` when it started must not see this.
    pub(crate) fn forbids(&self, floors: &Floors, seen: Seen) -> Option<String> {
        let contents = &self.objects[seen.content.object].contents;
        let Some(place) = contents.iter().position(|(id, _)| *id == seen.content.id) else {
            return Some(format!("content {} never was at the origin", seen.content.id));
        };
        floors.about(seen.content).find_map(|(what, floor)| {
            let Hard { content, exchange, except } = floor.hard;
            let excepted = |number: &u64| except == Some(*number);
            if place < content && !excepted(&seen.exchange) {
                let now = contents[content].0;
                return Some(format!(
                    "content {} had been replaced by {now} when {what} was invalidated",
                    seen.content.id
                ));
            }
            let mut exchanges = [Some(seen.exchange), seen.fetched].into_iter().flatten();
            let old = exchanges.find(|number| *number <= exchange && !excepted(number))?;
            Some(format!("exchange {old} began before {what} was invalidated, after exchange {exchange}"))
        })
    }

    /// When what is seen was made stale by a soft invalidation from before `floors` were taken down; the last, if
    /// several did.
    pub(crate) fn softened(&self, floors: &Floors, seen: Seen) -> Option<Duration> {
        let before = floors.about(seen.content).any(|(_, floor)| seen.exchange <= floor.soft.exchange);
        // Which of several counts is the edge's business.
        let last = self.objects[seen.content.object].floors.about(seen.content);
        before.then(|| last.map(|(_, floor)| floor.soft.at).max().unwrap_or_default())
    }
}

impl Floors {
    fn of(&mut self, covered: Covered) -> &mut Floor {
        match covered {
            Covered::Whole => &mut self.whole,
            Covered::Label(label) => &mut self.labels[label],
        }
    }

    /// The floors that count for a content.
    fn about(&self, content: Content) -> impl Iterator<Item = (&'static str, &Floor)> {
        let name = |label: usize| TAGS.iter().chain(&GROUPS).nth(label).copied().unwrap_or_default();
        [("it", &self.whole)].into_iter().chain(content.labels().map(move |at| (name(at), &self.labels[at])))
    }
}

/// What of an object a scope covers.
fn covered(scope: Scope, at: usize) -> Option<Covered> {
    let object = &OBJECTS[at];
    let whole = |covers: bool| covers.then_some(Covered::Whole);
    match scope {
        Scope::All => Some(Covered::Whole),
        Scope::Path(of) => whole(OBJECTS[of].path == object.path),
        Scope::HostPath(of) | Scope::Url(of) => whole(of == at),
        Scope::Prefix(host, prefix) => {
            whole(host.is_none_or(|host| host == object.host) && object.path.starts_with(prefix))
        }
        Scope::Tag(tag) => Some(Covered::Label(tag)),
        Scope::Group(host, group) => (host == object.host).then_some(Covered::Label(TAGS.len() + group)),
    }
}

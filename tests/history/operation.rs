//! What is done to an edge and its origin: a list that follows from a seed. Each operation brings along all its chances, those
//! of the origin it meets included, so that the others stay what they are when one is left out.

use std::time::Duration;

use crate::random::{Random, mix};
use crate::site::{COLOURS, GROUPS, HOSTS, Kind as Sort, OBJECTS, TAGS};

#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// Its place in the whole list.
    pub(crate) number: u32,
    /// From it follows what the origin does with the requests that it leads to.
    pub(crate) seed: u64,
    /// Before it.
    pub(crate) pause: Pause,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Pause {
    /// Nothing else runs in between.
    None,
    /// Everyone who can run does so this many times.
    Turns(u8),
    Time(Duration),
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Read(Read),
    Write(Write),
    Invalidate(Invalidate),
    /// The origin has something else from now on, and tells nobody.
    Change(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) object: usize,
    pub(crate) head: bool,
    pub(crate) colour: Option<&'static str>,
    /// The viewer's `Cache-Control`.
    pub(crate) control: Option<&'static str>,
    /// The viewer has a copy already.
    pub(crate) copy: Option<Kept>,
    pub(crate) range: Option<Range>,
    /// The range is wanted only of the copy it has.
    pub(crate) if_range: bool,
    pub(crate) authorization: bool,
    /// After this time it leaves.
    pub(crate) patience: Option<Duration>,
    /// Between two frames.
    pub(crate) pace: Duration,
}

/// Which content's copy a viewer has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kept {
    Current,
    Previous,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Range {
    /// Bytes from here to there, as parts of a thousand.
    Between(u64, u64),
    From(u64),
    Last(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) object: usize,
    pub(crate) method: &'static str,
    pub(crate) colour: Option<&'static str>,
    pub(crate) result: WriteResult,
    /// Another object that it changes, and the field that says so.
    pub(crate) other: Option<(usize, &'static str)>,
    /// A group that the answer names.
    pub(crate) group: Option<usize>,
    /// A POST whose answer is what a GET would get.
    pub(crate) represents: bool,
    pub(crate) broken_upload: bool,
    pub(crate) patience: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteResult {
    /// Done, and said so with this status.
    Done(u16),
    /// Not done, and said so with this status.
    Refused(u16),
    /// Done, and said otherwise: no cache can know.
    Denied(u16),
    /// No answer. It was done, or not.
    Lost(bool),
}

#[derive(Clone, Debug)]
pub(crate) struct Invalidate {
    pub(crate) scopes: Vec<Scope>,
    pub(crate) soft: bool,
    pub(crate) reference: Option<u8>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope {
    /// The object's path, on any host.
    Path(usize),
    /// The same on its host.
    HostPath(usize),
    Url(usize),
    /// Everything whose path begins like this, on this host or any.
    Prefix(Option<usize>, &'static str),
    Tag(usize),
    /// A group of a host.
    Group(usize, usize),
    All,
}

/// How many operations a history has.
pub(crate) const OPERATIONS: u32 = 1_000;

/// The first `operations` of a seed's list.
pub(crate) fn operations(seed: u64, operations: u32) -> Vec<Operation> {
    let seed = mix(seed ^ 0x0BEE);
    (0..operations)
        .map(|number| {
            // Most of what happens in a row is about one object, so that it meets.
            let hot = Random::new(seed ^ u64::from(number / 12)).below(OBJECTS.len());
            let random = &mut Random::new(mix(seed) ^ mix(u64::from(number) + 1));
            let pause = pause(random);
            let kind = kind(random, hot);
            Operation { number, seed: random.next(), pause, kind }
        })
        .collect()
}

fn pause(random: &mut Random) -> Pause {
    match random.below(100) {
        0..40 => Pause::None,
        40..60 => Pause::Turns(random.below(6) as u8 + 1),
        60..97 => Pause::Time(random.millis(1, 30)),
        _ => Pause::Time(random.millis(300, 4_000)),
    }
}

fn kind(random: &mut Random, hot: usize) -> Kind {
    let object = if random.percent(65) { hot } else { random.below(OBJECTS.len()) };
    match random.below(100) {
        0..72 => Kind::Read(read(random, object)),
        72..81 => Kind::Write(write(random, object)),
        81..91 => Kind::Invalidate(invalidate(random, object)),
        _ => Kind::Change(object),
    }
}

const CONTROLS: [&str; 8] = [
    "no-cache",
    "max-age=0",
    "max-age=1",
    "max-stale",
    "max-stale=2",
    "min-fresh=1",
    "only-if-cached",
    "no-store",
];

fn read(random: &mut Random, object: usize) -> Read {
    // What is too large to be stored is stored in parts.
    let large = OBJECTS[object].kind == Sort::Large;
    let range = random.percent(if large { 80 } else { 12 }).then(|| match random.below(4) {
        0 => Range::From(random.next() % 1_000),
        1 => Range::Last(random.next() % 1_000),
        _ => {
            let (one, other) = (random.next() % 1_100, random.next() % 1_100);
            Range::Between(one.min(other), one.max(other))
        }
    });
    Read {
        object,
        head: random.percent(8),
        colour: random.pick(&COLOURS),
        control: random.percent(12).then(|| random.pick(&CONTROLS)),
        copy: random
            .percent(if large { 4 } else { 15 })
            .then(|| random.pick(&[Kept::Current, Kept::Previous])),
        range,
        if_range: random.percent(30),
        authorization: random.percent(4),
        patience: random.percent(18).then(|| random.while_()),
        pace: if random.percent(80) { Duration::ZERO } else { random.while_() },
    }
}

fn write(random: &mut Random, object: usize) -> Write {
    let method = random.weighted(&[(50, "PUT"), (30, "POST"), (10, "DELETE"), (7, "PATCH"), (3, "BREW")]);
    let result = match random.below(100) {
        0..70 => WriteResult::Done(random.pick(&[200, 200, 201, 204, 303])),
        70..80 => WriteResult::Refused(random.pick(&[400, 404, 412, 500, 503])),
        80..84 => WriteResult::Denied(500),
        84..92 => WriteResult::Lost(true),
        _ => WriteResult::Lost(false),
    };
    let represents = method == "POST" && random.percent(60);
    let result = if represents && random.percent(80) { WriteResult::Done(200) } else { result };
    let other = (!represents && random.percent(30))
        .then(|| (random.below(OBJECTS.len()), random.pick(&["location", "content-location"])))
        .filter(|(other, _)| *other != object);
    Write {
        object,
        method,
        colour: random.pick(&COLOURS),
        result,
        other,
        group: random.percent(15).then(|| random.below(GROUPS.len())),
        represents,
        broken_upload: random.percent(6),
        patience: random.percent(12).then(|| random.while_()),
    }
}

fn invalidate(random: &mut Random, object: usize) -> Invalidate {
    let scopes = if random.percent(80) { 1 } else { 2 + random.below(3) };
    let scopes = (0..scopes)
        .map(|_| {
            let host = random.percent(50).then(|| random.below(HOSTS.len()));
            let prefix = random.pick(&["/", "/news/", "/news/2?", "/images/1", "/n", "/films/"]);
            let choice = [
                (20, Scope::Path(object)),
                (15, Scope::HostPath(object)),
                (15, Scope::Url(object)),
                (15, Scope::Prefix(host, prefix)),
                (20, Scope::Tag(random.below(TAGS.len()))),
                (10, Scope::Group(random.below(HOSTS.len()), random.below(GROUPS.len()))),
                (5, Scope::All),
            ];
            random.weighted(&choice)
        })
        .collect();
    let reference = random.percent(10).then(|| random.below(20) as u8);
    Invalidate { scopes, soft: random.percent(35), reference }
}

//! What happened, and how often: the history that a violation is explained by, and the counts that show what was tried.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::site::OBJECTS;

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    /// The operation it belongs to.
    pub(crate) operation: u32,
    /// The object it is about; `None` for all.
    pub(crate) object: Option<usize>,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A request starts, or an invalidation is made.
    Begins(String),
    /// What a viewer gets.
    Head(String),
    /// How a request ended.
    Ends(&'static str),
    /// The origin looks at what it has.
    Looked {
        exchange: u64,
        content: u32,
    },
    Answers {
        exchange: u64,
    },
    Failed {
        exchange: u64,
    },
    /// The origin has something new.
    Changed {
        content: u32,
    },
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begins(what) | Self::Head(what) => f.write_str(what),
            Self::Ends(how) => f.write_str(how),
            Self::Looked { exchange, content } => {
                write!(f, "        origin, exchange {exchange}: looks, has content {content}")
            }
            Self::Answers { exchange } => write!(f, "        origin, exchange {exchange}: answers"),
            Self::Failed { exchange } => write!(f, "        origin, exchange {exchange}: fails"),
            Self::Changed { content } => write!(f, "        origin: has content {content} from now on"),
        }
    }
}

/// A promise that was not kept.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) operation: u32,
    pub(crate) object: usize,
    pub(crate) why: String,
}

#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) events: Vec<Event>,
    pub(crate) tally: Tally,
    /// The first.
    pub(crate) violation: Option<Violation>,
}

/// How often each thing happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Tally) {
        for (what, times) in &other.0 {
            *self.0.entry(what).or_default() += times;
        }
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(what, times)| writeln!(f, "{times:>9}  {what}"))
    }
}

/// No more events than this are shown, the last ones.
const SHOWN: usize = 60;

impl Record {
    /// The violation, and what happened to its object until then.
    pub(crate) fn explain(&self) -> Option<String> {
        let violation = self.violation.as_ref()?;
        let object = OBJECTS[violation.object];
        let concerned = |event: &&Event| event.object.is_none_or(|object| object == violation.object);
        let events: Vec<_> = self.events.iter().filter(concerned).collect();
        let events = &events[events.len().saturating_sub(SHOWN)..];
        let mut text = format!("operation {}, {}: {}\n", violation.operation, object.url(), violation.why);
        for Event { at, operation, what, .. } in events {
            text += &format!("{:>10.3} s  [{operation:>3}] {what}\n", at.as_secs_f64());
        }
        Some(text)
    }
}

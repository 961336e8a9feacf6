//! The rules of the log, indexed so that one object is judged in a few look-ups, however many rules wait for their sweep.

use std::collections::HashMap;
use std::time::Duration;

use super::scope::{Name, Names, Reach, Text};

/// More rules than this cannot be pending, which take some 20 MiB; the log then falls back to invalidating everything.
pub(super) const MAX_RULES: usize = 262_144;
/// With more than this they retire as soon as a sweep has been, whoever still runs that began before them.
pub(super) const CROWD: usize = MAX_RULES / 4;
/// Nor may prefixes be of more lengths than this: each costs whoever is judged a look-up.
pub(super) const MAX_LENGTHS: usize = 64;

/// The last rules for one scope. Older ones for the same scope say nothing more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Last {
    pub(super) hard: u64,
    pub(super) soft: u64,
    /// When the soft one came.
    pub(super) soft_at: Duration,
}

impl Last {
    fn note(&mut self, number: u64, soft: Option<Duration>) {
        match soft {
            Some(at) => (self.soft, self.soft_at) = (number, at),
            None => self.hard = number,
        }
    }

    fn join(&mut self, other: &Self) {
        self.hard = self.hard.max(other.hard);
        if other.soft > self.soft {
            (self.soft, self.soft_at) = (other.soft, other.soft_at);
        }
    }
}

/// What is pending. It comes and goes by the generation: no lock is held while rules are picked out one by one.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Those that come now.
    young: Generation,
    /// Those that were there when the last generation before went.
    old: Generation,
    /// The last rule about any label, for objects whose labels are not known yet.
    any_label: Last,
    all: Last,
    /// The last rule that retired.
    retired: u64,
}

#[derive(Debug, Default)]
pub(super) struct Generation {
    names: Table,
    has_exact: bool,
    has_labels: bool,
    /// How long prefixes are, for any host and for one.
    anywhere: Vec<usize>,
    one_host: Vec<usize>,
    /// The last rule in it.
    last: u64,
}

/// By the hash of a name, in so many parts that one can grow while everybody waits.
#[derive(Debug, Default)]
struct Table {
    parts: [HashMap<u64, Last, foldhash::fast::RandomState>; PARTS],
    len: usize,
}

const PARTS: usize = 32;

impl Table {
    fn get(&self, hash: u64) -> Option<&Last> {
        self.parts[part(hash)].get(&hash)
    }

    fn last(&mut self, hash: u64) -> &mut Last {
        self.parts[part(hash)].entry(hash).or_insert_with(|| {
            self.len += 1;
            Last::default()
        })
    }
}

fn part(hash: u64) -> usize {
    hash as usize % PARTS
}

impl Generation {
    fn add(&mut self, name: Name, number: u64, soft: Option<Duration>) {
        let hash = match name {
            Name::All => return,
            Name::Exact(hash) => {
                self.has_exact = true;
                hash
            }
            Name::Label(hash) => {
                self.has_labels = true;
                hash
            }
            Name::Prefix(hash, reach, length) => {
                let lengths = match reach {
                    Reach::Anywhere => &mut self.anywhere,
                    Reach::OneHost => &mut self.one_host,
                };
                if !lengths.contains(&length) {
                    lengths.push(length);
                }
                hash
            }
        };
        self.names.last(hash).note(number, soft);
        self.last = number;
    }

    /// The last rules that match.
    fn judge(&self, names: &Names, key: &[u8], labels: &[Box<[u8]>], verdict: &mut Last) {
        let mut look = |hash| self.names.get(hash).into_iter().for_each(|last| verdict.join(last));
        if self.has_exact {
            names.exact(key).into_iter().for_each(&mut look);
        }
        if self.has_labels {
            labels.iter().for_each(|label| look(names.label(label)));
        }
        if self.lengths() > 0 {
            let Text { authority, text } = Text::of(key);
            let beginnings = |lengths: &[usize], authority, look: &mut dyn FnMut(u64)| {
                let texts = lengths.iter().filter_map(|length| text.get(..*length));
                texts.for_each(|text| look(names.prefix(authority, text)));
            };
            beginnings(&self.anywhere, None, &mut look);
            beginnings(&self.one_host, Some(authority), &mut look);
        }
    }

    fn lengths(&self) -> usize {
        self.anywhere.len() + self.one_host.len()
    }
}

impl Rules {
    /// Returns what they displace, to be dropped when no lock is held.
    pub(super) fn add(&mut self, name: Name, number: u64, soft: Option<Duration>) -> Option<[Generation; 2]> {
        match name {
            Name::All => self.all.note(number, soft),
            Name::Label(_) => self.any_label.note(number, soft),
            Name::Exact(_) | Name::Prefix(..) => {}
        }
        self.young.add(name, number, soft);
        if self.len() <= MAX_RULES && self.young.lengths() <= MAX_LENGTHS {
            return None;
        }
        self.all.hard = number;
        Some([std::mem::take(&mut self.young), std::mem::take(&mut self.old)])
    }

    /// The last rules about something that are later than `since`, hard and soft; 0 for none.
    pub(super) fn judge(&self, names: &Names, key: &[u8], labels: Option<&[Box<[u8]>]>, since: u64) -> Last {
        // What was last checked before rules that are gone was out of the store when they were applied to it.
        let mut verdict = Last { hard: self.retired, ..Last::default() };
        verdict.join(&self.all);
        if labels.is_none() {
            verdict.join(&self.any_label);
        }
        for generation in [&self.young, &self.old] {
            if generation.last > since {
                generation.judge(names, key, labels.unwrap_or_default(), &mut verdict);
            }
        }
        let later = |number| if number > since { number } else { 0 };
        Last { hard: later(verdict.hard), soft: later(verdict.soft), ..verdict }
    }

    /// Forgets the rules up to `number`, sooner or later. Returns what goes now, to be dropped when no lock is held.
    pub(super) fn retire(&mut self, number: u64) -> [Generation; 2] {
        // Nothing grows with `all` and `any_label`, so they stay.
        self.retired = self.retired.max(number);
        let mut gone = <[Generation; 2]>::default();
        if self.old.last <= number {
            gone[0] = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
        }
        if self.old.last <= number {
            gone[1] = std::mem::take(&mut self.old);
        }
        gone
    }

    pub(super) fn retired(&self) -> u64 {
        self.retired
    }

    /// Whether more are pending than can wait for whoever takes long.
    pub(super) fn is_crowded(&self) -> bool {
        self.len() > CROWD || self.young.lengths() > MAX_LENGTHS / 2
    }

    pub(super) fn len(&self) -> usize {
        self.young.names.len + self.old.names.len
    }
}

#[cfg(test)]
mod tests {
    use super::super::scope::{Prefix, Scope};
    use super::*;
    use crate::key::{KeyBuf, authority_part};

    fn key(uri: &str) -> Vec<u8> {
        KeyBuf::of_uri(&uri.parse().unwrap(), &http::HeaderMap::new(), false).unwrap().as_bytes().to_vec()
    }

    fn prefix(host: Option<&str>, text: &str) -> Scope {
        let authority = host.map(|host| authority_part(&key(&format!("http://{host}/"))).into());
        Scope::Prefix(Prefix { authority, text: text.into() })
    }

    #[test]
    fn a_prefix_runs_over_path_and_query() {
        for (host, text, uri, matches) in [
            (None, "/", "http://a/", true),
            (None, "/", "http://a/x?q", true),
            (None, "/im", "http://a/images/1", true),
            (None, "/images/", "http://a/images/1", true),
            (None, "/images/", "http://a/images", false),
            (None, "/images/", "http://a/Images/1", false),
            (None, "/x", "http://a/x?q", true),
            (None, "/x?", "http://a/x?q", true),
            (None, "/x?", "http://a/x?", true),
            (None, "/x?", "http://a/x", false),
            (None, "/x?q=1", "http://a/x?q=12", true),
            (None, "/x?q=1", "http://a/x?q=2", false),
            (None, "/x?q", "http://a/xyz", false),
            (None, "/xy", "http://a/x?y", false),
            (Some("a"), "/", "http://a/x", true),
            (Some("a"), "/", "https://a/x", true),
            (Some("a"), "/", "http://b/x", false),
        ] {
            let (mut rules, names) = (Rules::default(), Names::default());
            rules.add(names.of(&prefix(host, text)), 1, None);
            let verdict = rules.judge(&names, &key(uri), Some(&[]), 0);
            assert_eq!(verdict.hard == 1, matches, "{host:?} {text} {uri}");
        }
    }

    #[test]
    fn rules_that_keep_coming_retire_by_the_generation() {
        let (mut rules, names) = (Rules::default(), Names::default());
        let judged = |rules: &Rules, n: u64, since| {
            rules.judge(&names, &key(&format!("http://a/{n}")), Some(&[]), since).hard
        };
        for number in 1..=1_000 {
            rules.add(names.of(&Scope::path(&format!("/{number}"), None)), number, None);
            // Each sweep ends when 25 more have come than it has applied.
            if number % 10 == 0 {
                let applied = number.saturating_sub(25);
                rules.retire(applied);
                for later in applied + 1..=number {
                    assert_eq!(judged(&rules, later, applied), later);
                }
                assert_eq!(judged(&rules, 2_000, applied), 0);
                assert!(applied == 0 || judged(&rules, 2_000, applied - 1) > 0, "retired");
            }
            assert!(rules.len() <= 80, "{}", rules.len());
        }
        rules.retire(1_000);
        assert_eq!(rules.len(), 0);
    }

    #[test]
    fn of_two_rules_the_last_counts_in_whichever_generation() {
        let (mut rules, names) = (Rules::default(), Names::default());
        let path = names.of(&Scope::path("/x", None));
        let judged = |rules: &Rules, since| {
            let last = rules.judge(&names, &key("http://a/x"), Some(&[]), since);
            (last.hard, last.soft)
        };
        rules.add(path, 1, None);
        rules.add(path, 2, Some(Duration::from_secs(2)));
        rules.retire(0);
        rules.add(path, 3, Some(Duration::from_secs(3)));
        assert_eq!(judged(&rules, 0), (1, 3));
        assert_eq!(judged(&rules, 1), (0, 3));
        assert_eq!(judged(&rules, 3), (0, 0));
    }
}

//! What is served: a few objects, and what each of their contents looks like to each viewer. All of it follows from two
//! numbers, so that whoever reads a body can tell whose it is.

use crate::random::mix;

/// A URL of the site.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object {
    pub(crate) host: usize,
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With a strong entity tag.
    Plain,
    /// With a weak one.
    Weak,
    /// Without validator.
    Untagged,
    /// Most of its contents vary by the viewer's colour.
    Varied,
    /// Larger than what is stored.
    Large,
}

pub(crate) const HOSTS: [&str; 2] = ["a.example", "b.example"];

pub(crate) const OBJECTS: [Object; 8] = [
    Object { host: 0, path: "/news/1", kind: Kind::Plain },
    Object { host: 0, path: "/news/2", kind: Kind::Weak },
    Object { host: 0, path: "/news/2?page=1", kind: Kind::Plain },
    Object { host: 0, path: "/images/1", kind: Kind::Varied },
    Object { host: 0, path: "/films/1", kind: Kind::Large },
    Object { host: 1, path: "/news/1", kind: Kind::Plain },
    Object { host: 1, path: "/images/1", kind: Kind::Varied },
    Object { host: 1, path: "/notes", kind: Kind::Untagged },
];

/// Bodies longer than this are not stored.
pub(crate) const OBJECT_SIZE: u64 = 8 * 1024;

/// By which varied contents vary.
pub(crate) const COLOUR: &str = "x-colour";
pub(crate) const COLOURS: [Option<&str>; 4] = [None, Some("red"), Some("green"), Some("teal")];

pub(crate) const TAGS: [&str; 3] = ["t0", "t1", "t2"];
pub(crate) const GROUPS: [&str; 2] = ["g0", "g1"];
pub(crate) const LABELS: usize = TAGS.len() + GROUPS.len();

impl Object {
    pub(crate) fn authority(self) -> &'static str {
        HOSTS[self.host]
    }

    pub(crate) fn url(self) -> String {
        format!("http://{}{}", self.authority(), self.path)
    }
}

/// What an object is at some time: a number that no other content has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) object: usize,
    pub(crate) id: u32,
}

impl Content {
    fn kind(self) -> Kind {
        OBJECTS[self.object].kind
    }

    pub(crate) fn varies(self) -> bool {
        self.kind() == Kind::Varied && !self.id.is_multiple_of(3)
    }

    /// What a viewer gets of it. Those of two colours get the same.
    pub(crate) fn variant(self, colour: Option<&str>) -> u32 {
        match colour {
            _ if !self.varies() => 0,
            None => 0,
            Some("red") => 1,
            Some(_) => 2,
        }
    }

    pub(crate) fn etag(self, variant: u32) -> Option<String> {
        match self.kind() {
            Kind::Untagged => None,
            Kind::Weak => Some(format!("W/\"{}.{variant}\"", self.id)),
            Kind::Plain | Kind::Varied | Kind::Large => Some(format!("\"{}.{variant}\"", self.id)),
        }
    }

    /// The tags and groups it has, tags first.
    pub(crate) fn labels(self) -> impl Iterator<Item = usize> {
        let bits = mix(u64::from(self.id) << 8 | self.object as u64);
        (0..LABELS).filter(move |label| bits >> label & 1 == 1)
    }

    pub(crate) fn length(self) -> usize {
        if self.kind() == Kind::Large {
            // All the same, so that parts of several could be put together.
            return OBJECT_SIZE as usize + 3_000;
        }
        // No two contents of a history have the same: without validator, the length has to tell them apart.
        64 + self.id as usize * 37 % 2_003
    }

    /// Says whose it is, and is other bytes at every place.
    pub(crate) fn body(self, variant: u32) -> Vec<u8> {
        let mut body = format!("[object {} content {} variant {variant}]", self.object, self.id).into_bytes();
        let seed = mix(u64::from(self.id) << 16 | (self.object as u64) << 8 | u64::from(variant));
        let mut word = seed;
        while body.len() < self.length() {
            word = mix(word.wrapping_add(seed));
            body.extend_from_slice(&word.to_le_bytes());
        }
        body.truncate(self.length());
        body
    }
}

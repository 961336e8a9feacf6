//! An invalidation, of any scope.

use tower_edge::{Invalidation, Receipt};

use crate::operation::{Invalidate, Scope};
use crate::record::What;
use crate::run::World;
use crate::site::{GROUPS, HOSTS, OBJECTS, TAGS};

pub(crate) fn invalidate(world: &World, number: u32, what: &Invalidate) -> Receipt {
    let Invalidate { scopes, soft, reference } = what;
    let (first, rest) = scopes.split_first().expect("at least one scope");
    let mut invalidation = rest.iter().fold(named(*first), |all, scope| all.and(named(*scope)));
    if *soft {
        invalidation = invalidation.soft();
    }
    if let Some(reference) = reference {
        invalidation = invalidation.reference(reference.to_string());
    }
    let before = world.invalidator.history().len();
    let receipt = world.invalidator.invalidate(invalidation).expect("a limit high enough");
    // Made again under the same reference, it does nothing.
    let repeated = reference.is_some() && world.invalidator.history().len() == before;
    if repeated {
        world.site.count("invalidate: repeated");
        return receipt;
    }
    world.site.truth().invalidated(what, world.site.now());
    world.site.count(match (soft, first) {
        (true, _) => "invalidate: soft",
        (_, Scope::Path(_)) => "invalidate: path",
        (_, Scope::HostPath(_)) => "invalidate: path of a host",
        (_, Scope::Url(_)) => "invalidate: url",
        (_, Scope::Prefix(None, _)) => "invalidate: wildcard",
        (_, Scope::Prefix(Some(_), _)) => "invalidate: wildcard of a host",
        (_, Scope::Tag(_)) => "invalidate: tag",
        (_, Scope::Group(..)) => "invalidate: group",
        (_, Scope::All) => "invalidate: all",
    });
    let text = format!("{} invalidation of {}", if *soft { "soft" } else { "hard" }, spelt(scopes));
    world.site.record(number, None, What::Begins(text));
    receipt
}

fn named(scope: Scope) -> Invalidation {
    let named = match scope {
        Scope::Path(object) => Invalidation::paths([OBJECTS[object].path]),
        Scope::HostPath(object) => {
            Invalidation::host_paths(OBJECTS[object].authority(), [OBJECTS[object].path])
        }
        Scope::Url(object) => Invalidation::url(&OBJECTS[object].url()),
        Scope::Prefix(None, prefix) => Invalidation::paths([format!("{prefix}*")]),
        Scope::Prefix(Some(host), prefix) => Invalidation::host_paths(HOSTS[host], [format!("{prefix}*")]),
        Scope::Tag(tag) => Invalidation::tags([TAGS[tag]]),
        Scope::Group(host, group) => {
            Invalidation::groups(&format!("http://{}", HOSTS[host]), [GROUPS[group]])
        }
        Scope::All => Ok(Invalidation::all()),
    };
    named.expect("scopes that can be named")
}

fn spelt(scopes: &[Scope]) -> String {
    let one = |scope: &Scope| match scope {
        Scope::Path(object) => OBJECTS[*object].path.to_owned(),
        Scope::HostPath(object) => format!("{} of {}", OBJECTS[*object].path, OBJECTS[*object].authority()),
        Scope::Url(object) => OBJECTS[*object].url(),
        Scope::Prefix(None, prefix) => format!("{prefix}*"),
        Scope::Prefix(Some(host), prefix) => format!("{prefix}* of {}", HOSTS[*host]),
        Scope::Tag(tag) => format!("tag {}", TAGS[*tag]),
        Scope::Group(host, group) => format!("group {} of {}", GROUPS[*group], HOSTS[*host]),
        Scope::All => "everything".to_owned(),
    };
    scopes.iter().map(one).collect::<Vec<_>>().join(", ")
}

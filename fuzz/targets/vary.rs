//! `Vary` and the fields it names: a response, its request, another request (RFC 9111 §4.1).

use http::HeaderMap;
use http::header::VARY;
use tower_edge::Normalise;
use tower_edge::semantics::normal::{normal_form, rewrite};
use tower_edge::semantics::vary::{VariesByAnything, Vary};

use super::value;

pub fn run(data: &[u8]) {
    let [response, stored, presented] = super::sections(data);
    for request in [&stored, &presented] {
        normal_forms_are_their_own(request);
    }
    let (ours, other) = match (vary(&response, &stored), vary(&response, &presented)) {
        (Ok(ours), Ok(other)) => (ours, other),
        (ours, other) => {
            assert_eq!(ours, other, "whether a response varies by anything is up to the response");
            return;
        }
    };
    assert!(ours.matches(&stored) && other.matches(&presented), "a response fits its own request");
    let matches = ours.matches(&presented);
    assert_eq!(other.matches(&stored), matches, "fitting goes both ways");
    assert_eq!(ours == other, matches);
    assert_eq!(fingerprint(&ours, &stored) == fingerprint(&ours, &presented), matches);
    assert_eq!(fingerprint(&ours, &stored), fingerprint(&other, &stored), "only names make a fingerprint");
    assert_eq!(ours.is_empty(), ours.weight() == 0);

    // A field that no request has changes nothing, `*` everything.
    let mut more = response.clone();
    more.append(VARY, value("x-nobody-sends-this"));
    let absent =
        !stored.contains_key("x-nobody-sends-this") && !presented.contains_key("x-nobody-sends-this");
    if absent {
        assert_eq!(vary(&more, &stored).map(|vary| vary.matches(&presented)), Ok(matches));
    }
    more.append(VARY, value("*"));
    assert!(vary(&more, &stored).is_err());
}

fn vary(response: &HeaderMap, request: &HeaderMap) -> Result<Vary, VariesByAnything> {
    Vary::new(response, request, Normalise::default())
}

fn fingerprint(vary: &Vary, request: &HeaderMap) -> Vec<u8> {
    let mut fingerprint = Vec::new();
    vary.fingerprint(request, &mut fingerprint);
    fingerprint
}

fn normal_forms_are_their_own(request: &HeaderMap) {
    let on = Normalise::default();
    for normalise in [on, Normalise { accept_encoding: false, accept_language: false }] {
        for name in request.keys() {
            let normal = normal_form(name, request, normalise).expect("a field that is there");
            let again = HeaderMap::from_iter([(name.clone(), value(&normal))]);
            assert_eq!(normal_form(name, &again, normalise), Some(normal), "{name}");
        }
    }
    // What is forwarded is what was compared.
    let mut forwarded = request.clone();
    rewrite(&mut forwarded, on);
    for name in request.keys() {
        assert_eq!(normal_form(name, &forwarded, on), normal_form(name, request, on), "{name}");
    }
}

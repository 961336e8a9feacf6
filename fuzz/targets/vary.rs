//! `Vary` and the fields it names: a response, its request, another request (RFC 9111 §4.1).

use http::HeaderMap;
use http::header::VARY;
use tower_edge::Normalise;
use tower_edge::semantics::normal::normal_form;
use tower_edge::semantics::vary::Vary;

use super::value;

pub fn run(data: &[u8]) {
    let [response, stored, presented] = super::sections(data);
    for request in [&stored, &presented] {
        normal_forms_are_their_own(request);
    }
    let (vary, other) = match (
        Vary::new(&response, &stored, Normalise::default()),
        Vary::new(&response, &presented, Normalise::default()),
    ) {
        (Ok(vary), Ok(other)) => (vary, other),
        (vary, other) => {
            assert_eq!(vary, other, "whether a response varies by anything is up to the response");
            return;
        }
    };
    assert!(vary.matches(&stored) && other.matches(&presented), "a response fits its own request");
    let matches = vary.matches(&presented);
    assert_eq!(other.matches(&stored), matches, "fitting goes both ways");
    assert_eq!(vary == other, matches);
    assert_eq!(fingerprint(&vary, &stored) == fingerprint(&vary, &presented), matches);
    assert_eq!(fingerprint(&vary, &stored), fingerprint(&other, &stored), "only names make a fingerprint");
    assert_eq!(vary.is_empty(), vary.weight() == 0);

    // A field that no request has changes nothing, `*` everything.
    let mut more = response.clone();
    more.append(VARY, value("x-nobody-sends-this"));
    let absent =
        !stored.contains_key("x-nobody-sends-this") && !presented.contains_key("x-nobody-sends-this");
    if absent {
        assert_eq!(
            Vary::new(&more, &stored, Normalise::default()).map(|vary| vary.matches(&presented)),
            Ok(matches)
        );
    }
    more.append(VARY, value("*"));
    assert!(Vary::new(&more, &stored, Normalise::default()).is_err());
}

fn fingerprint(vary: &Vary, request: &HeaderMap) -> Vec<u8> {
    let mut fingerprint = Vec::new();
    vary.fingerprint(request, &mut fingerprint);
    fingerprint
}

fn normal_forms_are_their_own(request: &HeaderMap) {
    for name in request.keys() {
        let normal = normal_form(name, request, Normalise::default()).expect("a field that is there");
        let again = HeaderMap::from_iter([(name.clone(), value(&normal))]);
        assert_eq!(normal_form(name, &again, Normalise::default()), Some(normal), "{name}");
    }
}

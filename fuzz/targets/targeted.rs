//! Targeted fields: a response (RFC 9213).

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName};
use tower_edge::semantics::directives::ResponseCacheControl;
use tower_edge::semantics::targeted::effective;

use super::value;

const TARGET: HeaderName = HeaderName::from_static("cdn-cache-control");

pub fn run(data: &[u8]) {
    let [response] = super::sections(data);
    let control = effective(&response, &[TARGET]);
    let untargeted = ResponseCacheControl::parse(&response);
    assert_eq!(effective(&response, &[]), untargeted);

    if control.targeted {
        assert!(response.contains_key(TARGET));
        let mut alone = response.clone();
        alone.remove(CACHE_CONTROL);
        assert_eq!(effective(&alone, &[TARGET]), control, "RFC 9213 §2.2: Cache-Control is ignored");
        lines_are_one_list(&response, &control);
    } else {
        assert_eq!(control, untargeted, "RFC 9213 §2.1: an invalid field is as good as absent");
    }
    what_nobody_can_read_is_absent(&response, &untargeted);
}

/// RFC 9651 §4.2
fn lines_are_one_list(response: &HeaderMap, control: &ResponseCacheControl) {
    let lines: Vec<&[u8]> = response.get_all(TARGET).iter().map(|line| line.as_bytes()).collect();
    let mut joined = response.clone();
    joined.insert(TARGET, value(lines.join(&b", "[..])));
    assert_eq!(effective(&joined, &[TARGET]), *control);
}

fn what_nobody_can_read_is_absent(response: &HeaderMap, untargeted: &ResponseCacheControl) {
    let mut broken = response.clone();
    broken.append(TARGET, value("No-Store"));
    assert_eq!(effective(&broken, &[TARGET]), *untargeted, "keys are in lower case");
}

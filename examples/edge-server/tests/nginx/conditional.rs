//! Ranges, conditions and HEAD: the edge answers from a whole object what nginx answers from its file.

use std::time::Duration;

use crate::Setup;
use crate::agree::{assert_agree, assert_same_bytes};
use crate::client::{Answer, Client};
use crate::site::{Site, noise};

const LENGTH: usize = 300_000;
const DAY: Duration = Duration::from_secs(86_400);
const LONG_AGO: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// One request, apart from its target.
type Case = (&'static str, Vec<(&'static str, String)>);

fn case(method: &'static str, fields: &[(&'static str, &str)]) -> Case {
    let fields = fields.iter().map(|&(name, value)| (name, value.to_owned()));
    (method, fields.collect())
}

/// The validators of the file, as nginx gives them, and a date after its last change.
struct Validators {
    etag: String,
    last_modified: String,
    later: String,
}

fn validators(direct: &mut Client, target: &str) -> Validators {
    let answer = direct.get(target);
    let field = |name| answer.field(name).expect("nginx sends Date, ETag and Last-Modified");
    Validators { etag: field("etag"), last_modified: field("last-modified"), later: field("date") }
}

/// Requests that nginx answers as the RFCs say. `If-Match` and `If-Unmodified-Since` are not among them: a cache may
/// ignore those (RFC 9110 §13.1.1, §13.1.4).
fn cases(validators: &Validators) -> Vec<Case> {
    let Validators { etag, last_modified, later } = validators;
    let weak = format!("W/{etag}");
    let listed = format!("\"other\", {etag}");
    let last_byte = format!("bytes={}-", LENGTH - 1);
    let behind = format!("bytes={LENGTH}-");
    let behind_both = format!("bytes={LENGTH}-,{LENGTH}-{}", 2 * LENGTH);
    let part_behind = format!("bytes=0-9,{LENGTH}-");
    let get = |fields: &[(&'static str, &str)]| case("GET", fields);
    let range = |range: &str| case("GET", &[("Range", range)]);
    vec![
        get(&[]),
        case("HEAD", &[]),
        // Single ranges: int, open, suffix.
        range("bytes=0-0"),
        range("bytes=0-99"),
        range("bytes=65535-65536"),
        range("bytes=70000-210000"),
        range("bytes=0-9999999"),
        range("bytes=0-"),
        range("bytes=100000-"),
        range(&last_byte),
        range("bytes=-1"),
        range("bytes=-70000"),
        range("bytes=-9999999"),
        // Several.
        range("bytes=0-9,20-29"),
        range("bytes=0-0, 65530-131080, -10"),
        range("bytes=10-19,1000-1999,100000-199999,290000-"),
        range(&part_behind),
        // None that can be satisfied, and a unit nobody knows.
        range(&behind),
        range(&behind_both),
        range("lines=0-9"),
        // Conditions.
        get(&[("If-None-Match", etag)]),
        get(&[("If-None-Match", &weak)]),
        get(&[("If-None-Match", &listed)]),
        get(&[("If-None-Match", "*")]),
        get(&[("If-None-Match", "\"other\"")]),
        get(&[("If-Modified-Since", last_modified)]),
        get(&[("If-Modified-Since", later)]),
        get(&[("If-Modified-Since", LONG_AGO)]),
        get(&[("If-Modified-Since", "yesterday")]),
        get(&[("If-None-Match", "\"other\""), ("If-Modified-Since", later)]),
        case("HEAD", &[("If-None-Match", etag)]),
        case("HEAD", &[("If-None-Match", "\"other\"")]),
        case("HEAD", &[("If-Modified-Since", later)]),
        // Conditions and ranges.
        get(&[("If-None-Match", etag), ("Range", "bytes=0-9")]),
        get(&[("If-None-Match", "\"other\""), ("Range", "bytes=0-9")]),
        get(&[("If-Modified-Since", last_modified), ("Range", &behind)]),
        get(&[("If-Range", etag), ("Range", "bytes=5-9")]),
        get(&[("If-Range", etag), ("Range", "bytes=5-9,-5")]),
        get(&[("If-Range", etag), ("Range", &behind)]),
        get(&[("If-Range", &weak), ("Range", "bytes=5-9")]),
        get(&[("If-Range", "\"other\""), ("Range", "bytes=5-9")]),
        get(&[("If-Range", "\"other\""), ("Range", &behind)]),
        get(&[("If-Range", last_modified), ("Range", "bytes=5-9")]),
        get(&[("If-Range", later), ("Range", "bytes=5-9")]),
        get(&[("If-Range", LONG_AGO), ("Range", "bytes=5-9")]),
        get(&[("If-Range", etag)]),
    ]
}

/// Requests where nginx goes its own way, and what the RFCs say.
fn departures(validators: &Validators) -> Vec<(Case, u16)> {
    let matching = ("If-None-Match", validators.etag.as_str());
    vec![
        // RFC 9110 §14.2: a range is for GET only.
        (case("HEAD", &[("Range", "bytes=0-9")]), 200),
        // RFC 9110 §14.2: an invalid ranges-specifier is ignored; §14.1.1: so is one that ends before it starts.
        (case("GET", &[("Range", "bytes=ten-")]), 200),
        (case("GET", &[("Range", "bytes=9-5")]), 200),
        // RFC 9110 §13.1.3: If-None-Match makes If-Modified-Since void.
        (case("GET", &[matching, ("If-Modified-Since", LONG_AGO)]), 304),
    ]
}

fn send(client: &mut Client, target: &str, (method, fields): &Case) -> Answer {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    client.send(method, target, &fields, b"")
}

#[test]
#[ignore = "needs nginx: tests/all.sh runs it"]
fn ranges_conditions_and_head_agree_with_nginx() {
    let site = Site::new("agree");
    let bytes = noise(LENGTH);
    site.write("/long/noise.bin", &bytes, DAY);
    let setup = Setup::start(site);
    let (mut client, mut direct) = (setup.edge_client(), setup.nginx_client());
    let validators = validators(&mut direct, "/long/noise.bin");

    for (number, case) in cases(&validators).iter().enumerate() {
        let from_nginx = send(&mut direct, "/long/noise.bin", case);
        // nginx pays no heed to the query of a file, while every query is an object of its own to the edge.
        let target = format!("/long/noise.bin?{number}");

        let asked = setup.asked_during(|| {
            let cold = send(&mut client, &target, case);
            assert_agree(&format!("cold {case:?}"), &from_nginx, &cold);
        });
        assert_eq!(asked.len(), 1, "cold {case:?}: {asked:?}");
        assert!(!asked[0].conditional, "the viewer's condition is the edge's to answer: {case:?}");

        // Whatever the cold case left in the store, it does not pass for the whole.
        let whole = client.get(&target);
        assert_eq!(whole.status, 200, "after {case:?}");
        assert_same_bytes(&format!("after {case:?}"), &bytes, &whole.body);

        let asked = setup.asked_during(|| {
            let warm = send(&mut client, &target, case);
            assert_agree(&format!("warm {case:?}"), &from_nginx, &warm);
        });
        assert_eq!(asked, [], "warm {case:?}");
    }
}

#[test]
#[ignore = "needs nginx: tests/all.sh runs it"]
fn where_nginx_departs_from_the_rfc_the_edge_does_not() {
    let site = Site::new("depart");
    let bytes = noise(LENGTH);
    site.write("/long/noise.bin", &bytes, DAY);
    let setup = Setup::start(site);
    let (mut client, mut direct) = (setup.edge_client(), setup.nginx_client());
    let validators = validators(&mut direct, "/long/noise.bin");

    for (number, (case, status)) in departures(&validators).iter().enumerate() {
        // A case that nginx comes to answer as the RFCs say belongs in `cases`.
        assert_ne!(send(&mut direct, "/long/noise.bin", case).status, *status, "{case:?}");
        let target = format!("/long/noise.bin?{number}");
        assert_eq!(send(&mut client, &target, case).status, *status, "cold {case:?}");
        assert_same_bytes("whole", &bytes, &client.get(&target).body);
        assert_eq!(send(&mut client, &target, case).status, *status, "warm {case:?}");
    }
}

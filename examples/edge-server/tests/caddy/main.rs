//! The edge server in front of Debian's Caddy and real files: over HTTP/1.1, and over HTTP/2 with TLS.
//!
//! These tests need Caddy, so `cargo test` leaves them out; `tests/all.sh` runs them.

#[path = "../nginx/agree.rs"]
mod agree;
#[path = "../nginx/client.rs"]
mod client;
#[path = "../nginx/processes.rs"]
#[allow(dead_code, reason = "nginx is another test's")]
mod processes;
mod server;
#[path = "../nginx/site.rs"]
mod site;

use std::time::Duration;

use agree::{assert_agree, assert_same_bytes};
use client::{Answer, Client};
use processes::EdgeServer;
use server::{Caddy, Logged};
use site::{Site, noise};

const DAY: Duration = Duration::from_secs(86_400);

/// A site, Caddy serving it, and the edge server in front, stopped in the order of the fields.
struct Setup {
    edge: EdgeServer,
    caddy: Caddy,
    site: Site,
}

impl Setup {
    /// Caddy is spoken to as these lines of its origin's section say.
    fn start(site: Site, origin: impl FnOnce(&Caddy) -> String) -> Self {
        let caddy = Caddy::start(&site);
        let configuration = format!(
            "name = \"e2e\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n[[behavior]]\npath = \"*\"\n\
             origin = \"caddy\"\n[origin.caddy]\nkind = \"upstream\"\n{}\n",
            origin(&caddy)
        );
        let edge = EdgeServer::by_file(&site, &configuration);
        Self { edge, caddy, site }
    }

    fn edge_client(&self) -> Client {
        Client::new(self.edge.address)
    }

    fn caddy_client(&self) -> Client {
        Client::new(self.caddy.plain)
    }

    /// What the edge asks Caddy for while `act` runs, which is to be `expected` many requests.
    fn asked_during(&self, expected: usize, act: impl FnOnce()) -> Vec<Logged> {
        let before = self.caddy.log(0).len();
        act();
        self.caddy.log(before + expected).split_off(before)
    }
}

fn plain(caddy: &Caddy) -> String {
    format!("url = \"http://{}\"", caddy.plain)
}

/// By the name in its certificate, and trusted by that alone.
fn secured(caddy: &Caddy) -> String {
    let (port, authority) = (caddy.secured.port(), caddy.authority.display());
    format!("url = \"https://localhost:{port}\"\nhost = \"rewrite\"\nca-file = \"{authority}\"\nhttp2 = true")
}

/// Every file comes through as Caddy has it, once, and by this protocol.
fn assert_identical(setup: &Setup, protocol: &str) {
    let mut documents = setup.site.copy_docs("long", 60);
    for (name, bytes) in [("empty.txt", Vec::new()), ("large.bin", noise(5_000_001))] {
        let target = format!("/long/{name}");
        setup.site.write(&target, &bytes, DAY);
        documents.insert(target, bytes);
    }
    let mut client = setup.edge_client();
    let asked = setup.asked_during(documents.len(), || {
        for (target, bytes) in &documents {
            let answer = client.get(target);
            assert_eq!(answer.status, 200, "{target}: {answer:?}");
            assert_same_bytes(target, bytes, &answer.body);
        }
    });
    assert_eq!(asked.len(), documents.len(), "one request a file");
    for logged in &asked {
        assert_eq!((logged.protocol.as_str(), logged.status), (protocol, 200), "{logged:?}");
    }
    let asked = setup.asked_during(0, || {
        let mut direct = setup.caddy_client();
        for (target, bytes) in &documents {
            let answer = client.get(target);
            assert!(answer.is_hit(), "{target}: {answer:?}");
            assert_same_bytes(target, bytes, &answer.body);
            assert_agree(target, &direct.get(&format!("{target}?direct")), &answer);
        }
    });
    assert_eq!(asked, []);
}

#[test]
#[ignore = "needs Caddy: tests/all.sh runs it"]
fn every_file_is_identical_and_the_second_pass_never_reaches_caddy() {
    assert_identical(&Setup::start(Site::new("caddy-plain"), plain), "HTTP/1.1");
}

#[test]
#[ignore = "needs Caddy: tests/all.sh runs it"]
fn so_it_is_over_http_2_with_a_certificate_from_a_file() {
    assert_identical(&Setup::start(Site::new("caddy-secured"), secured), "HTTP/2.0");
}

/// A method, fields, and the status of the answer.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], u16);

/// The edge has it. An answer may have ended for its reader a moment before it is stored; who comes then joins it.
fn assert_kept(case: &str, answer: &Answer) {
    let has_joined = answer.field("cache-status").is_some_and(|status| status.contains("; collapsed"));
    assert!(answer.is_hit() || has_joined, "{case}: {answer:?}");
}

#[test]
#[ignore = "needs Caddy: tests/all.sh runs it"]
fn ranges_and_conditions_agree_with_caddy() {
    let site = Site::new("caddy-agree");
    let bytes = noise(100_003);
    // Of a type that Caddy knows: the parts of another have one that is empty.
    site.write("/long/noise.png", &bytes, DAY);
    let setup = Setup::start(site, plain);
    let (mut client, mut direct) = (setup.edge_client(), setup.caddy_client());
    let whole = direct.get("/long/noise.png?direct");
    let (etag, date) = (whole.field("etag").unwrap(), whole.field("last-modified").unwrap());
    let long_ago = "Sun, 06 Nov 1994 08:49:37 GMT";

    let cases: [Case<'_>; 14] = [
        ("HEAD", &[], 200),
        ("GET", &[("Range", "bytes=0-9")], 206),
        ("GET", &[("Range", "bytes=-10")], 206),
        ("GET", &[("Range", "bytes=99990-")], 206),
        ("GET", &[("Range", "bytes=5-9,20000-20009")], 206),
        ("GET", &[("Range", "bytes=200000-")], 416),
        ("GET", &[("If-None-Match", &etag)], 304),
        ("HEAD", &[("If-None-Match", &etag)], 304),
        ("GET", &[("If-None-Match", "\"other\"")], 200),
        ("GET", &[("If-Modified-Since", &date)], 304),
        ("GET", &[("If-Modified-Since", long_ago)], 200),
        ("GET", &[("If-None-Match", &etag), ("Range", "bytes=0-9")], 304),
        ("GET", &[("If-Range", &etag), ("Range", "bytes=5-9")], 206),
        ("GET", &[("If-Range", "\"other\""), ("Range", "bytes=5-9")], 200),
    ];
    for (number, (method, fields, status)) in cases.into_iter().enumerate() {
        let of_caddy = direct.send(method, "/long/noise.png?direct", fields, b"");
        assert_eq!(of_caddy.status, status, "{method} {fields:?}");
        // Every query is an object of its own to the edge, and Caddy pays no heed to it.
        let target = format!("/long/noise.png?{number}");
        let cold = client.send(method, &target, fields, b"");
        assert_agree(&format!("cold {method} {fields:?}"), &of_caddy, &cold);
        assert_same_bytes("whole", &bytes, &client.get(&target).body);
        let warm = client.send(method, &target, fields, b"");
        assert_kept(&format!("{method} {fields:?}"), &warm);
        assert_agree(&format!("warm {method} {fields:?}"), &of_caddy, &warm);
    }
}

#[test]
#[ignore = "needs Caddy: tests/all.sh runs it"]
fn nobody_gets_a_coding_that_was_not_asked_for() {
    let site = Site::new("caddy-codings");
    let text = "compressible, and different in each line\n".repeat(500);
    for name in ["a", "b"] {
        site.write(&format!("/gzip/{name}.txt"), text.as_bytes(), DAY);
    }
    let setup = Setup::start(site, plain);
    let (mut client, mut direct) = (setup.edge_client(), setup.caddy_client());
    // Caddy says Vary with what it compresses only, and has one ETag for all codings: either order has to come out right.
    // And what has no Vary is for everyone.
    for (name, order) in [("a", ["gzip", "", "zstd"]), ("b", ["", "zstd", "gzip"])] {
        let target = format!("/gzip/{name}.txt");
        for pass in ["cold", "warm"] {
            for coding in order {
                let accepts: &[_] = if coding.is_empty() { &[] } else { &[("Accept-Encoding", coding)] };
                let answer = client.send("GET", &target, accepts, b"");
                assert_eq!(answer.status, 200);
                if pass == "warm" {
                    assert_kept(&format!("{target} {coding}"), &answer);
                }
                match answer.field("content-encoding") {
                    None => assert_same_bytes(pass, text.as_bytes(), &answer.body),
                    Some(got) => {
                        assert_eq!(got, coding, "{pass} {name}");
                        assert_eq!(answer.field("vary").as_deref(), Some("Accept-Encoding"));
                        let of_caddy = direct.send("GET", &format!("{target}?direct"), accepts, b"");
                        assert_same_bytes(pass, &of_caddy.body, &answer.body);
                    }
                }
            }
        }
    }
    let compressed = client.send("GET", "/gzip/a.txt?2", &[("Accept-Encoding", "gzip")], b"");
    assert_eq!(compressed.field("content-encoding").as_deref(), Some("gzip"), "Caddy compresses");
}

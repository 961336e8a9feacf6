//! The edge server in front of Debian's nginx and real files: what one viewer sees, and what nginx is asked.
//!
//! These tests need nginx and real seconds, so `cargo test` leaves them out; `tests/all.sh` runs them.

mod agree;
mod client;
mod conditional;
mod configured;
mod processes;
mod site;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use agree::{assert_agree, assert_same_bytes};
use client::Client;
use processes::{EdgeServer, Logged, Nginx};
use site::{Site, noise};

const DAY: Duration = Duration::from_secs(86_400);

/// A site, nginx serving it, and the edge server in front, stopped in the order of the fields.
struct Setup {
    edge: EdgeServer,
    nginx: Nginx,
    site: Site,
}

impl Setup {
    fn start(site: Site) -> Self {
        let nginx = Nginx::start(&site);
        let edge = EdgeServer::start(&nginx);
        Self { edge, nginx, site }
    }

    /// By a file, made for the address of nginx.
    fn configured(site: Site, configuration: impl FnOnce(SocketAddr) -> String) -> Self {
        let nginx = Nginx::start(&site);
        let edge = EdgeServer::by_file(&site, &configuration(nginx.address));
        Self { edge, nginx, site }
    }

    fn edge_client(&self) -> Client {
        Client::new(self.edge.address)
    }

    fn nginx_client(&self) -> Client {
        Client::new(self.nginx.address)
    }

    /// What nginx is asked while `act` runs.
    fn asked_during(&self, act: impl FnOnce()) -> Vec<Logged> {
        let before = self.nginx.log().len();
        act();
        self.nginx.log().split_off(before)
    }
}

fn get_all(client: &mut Client, documents: &BTreeMap<String, Vec<u8>>) {
    for (target, bytes) in documents {
        let answer = client.get(target);
        assert_eq!(answer.status, 200, "{target}");
        assert_same_bytes(target, bytes, &answer.body);
    }
}

#[test]
#[ignore = "needs nginx: tests/all.sh runs it"]
fn every_file_is_identical_and_the_second_pass_never_reaches_nginx() {
    let site = Site::new("identical");
    let mut documents = site.copy_docs("long", 400);
    assert!(documents.len() >= 100, "only {} files below /usr/share/doc", documents.len());
    for (name, bytes) in [("empty.txt", Vec::new()), ("large.bin", noise(5_000_001))] {
        let target = format!("/long/{name}");
        site.write(&target, &bytes, DAY);
        documents.insert(target, bytes);
    }
    let setup = Setup::start(site);
    let mut client = setup.edge_client();

    let asked = setup.asked_during(|| get_all(&mut client, &documents));
    assert_eq!(asked.len(), documents.len(), "one request a file");
    let asked = setup.asked_during(|| {
        let mut direct = setup.nginx_client();
        for (target, bytes) in &documents {
            let answer = client.get(target);
            assert!(answer.is_hit(), "{target}: {:?}", answer.fields);
            assert!(answer.field("age").is_some(), "RFC 9111 §4: a stored answer carries its age");
            assert_same_bytes(target, bytes, &answer.body);
            // Its own target, since the log is to show that the edge asks nothing.
            let from_nginx = direct.get(&format!("{target}?direct"));
            assert_agree(target, &from_nginx, &answer);
        }
    });
    let forwarded: Vec<_> = asked.iter().filter(|logged| !logged.target.ends_with("?direct")).collect();
    assert!(forwarded.is_empty(), "{forwarded:?}");
}

#[test]
#[ignore = "needs nginx: tests/all.sh runs it"]
fn a_changed_file_is_seen_after_its_ttl_and_the_others_are_revalidated() {
    let site = Site::new("changed");
    let mut documents = site.copy_docs("short", 40);
    let setup = Setup::start(site);
    let mut client = setup.edge_client();
    get_all(&mut client, &documents);

    let changed = documents.keys().nth(7).expect("there are 40").clone();
    documents.insert(changed.clone(), b"another text".to_vec());
    setup.site.write(&changed, &documents[&changed], DAY / 2);
    // /short/ lives for one second.
    thread::sleep(Duration::from_millis(1_100));

    let asked = setup.asked_during(|| get_all(&mut client, &documents));
    let expected: Vec<Logged> = documents
        .keys()
        .map(|target| Logged {
            method: "GET".to_owned(),
            target: target.clone(),
            status: if *target == changed { 200 } else { 304 },
            conditional: true,
        })
        .collect();
    assert_eq!(asked, expected);
}

#[test]
#[ignore = "needs nginx: tests/all.sh runs it"]
fn both_codings_of_a_file_are_kept_apart() {
    let site = Site::new("codings");
    let documents = site.copy_docs("gzip", 10);
    let setup = Setup::start(site);
    let (mut client, mut direct) = (setup.edge_client(), setup.nginx_client());
    let codings: [&[(&str, &str)]; 2] = [&[], &[("Accept-Encoding", "gzip")]];

    for pass in ["cold", "warm"] {
        let asked = setup.asked_during(|| {
            for target in documents.keys() {
                for coding in codings {
                    let from_nginx = direct.send("GET", &format!("{target}?direct"), coding, b"");
                    let answer = client.send("GET", target, coding, b"");
                    assert_eq!(answer.field("content-encoding").is_some(), !coding.is_empty());
                    assert_agree(&format!("{pass} {target} {coding:?}"), &from_nginx, &answer);
                }
            }
        });
        let forwarded = asked.iter().filter(|logged| !logged.target.ends_with("?direct")).count();
        let expected = if pass == "cold" { documents.len() * codings.len() } else { 0 };
        assert_eq!(forwarded, expected, "{pass}");
    }
}

#[test]
#[ignore = "needs nginx: tests/all.sh runs it"]
fn a_refused_write_leaves_the_stored_object() {
    let site = Site::new("refused");
    site.write("/long/page.txt", b"a page", DAY);
    let setup = Setup::start(site);
    let mut client = setup.edge_client();
    client.get("/long/page.txt");

    let asked = setup.asked_during(|| {
        let refused = client.send("POST", "/long/page.txt", &[], b"a write");
        assert_eq!(refused.status, 405);
        // RFC 9111 §4.4: only a 2xx or 3xx to an unsafe method invalidates.
        assert!(client.get("/long/page.txt").is_hit());
    });
    let methods: Vec<&str> = asked.iter().map(|logged| logged.method.as_str()).collect();
    assert_eq!(methods, ["POST"]);
}

#[test]
#[ignore = "needs nginx: tests/all.sh runs it"]
fn a_put_through_the_edge_is_seen_by_the_next_get() {
    let setup = Setup::start(Site::new("put"));
    let (mut writer, mut reader) = (setup.edge_client(), setup.edge_client());
    let target = "/dav/note.txt";

    // Content of different lengths: nginx makes its ETag of the length and a time in seconds.
    for (expected, text) in [(201, "first"), (204, "second text"), (204, "the third text")] {
        assert_eq!(writer.send("PUT", target, &[], text.as_bytes()).status, expected, "{text}");
        for _ in 0..2 {
            assert_same_bytes(text, text.as_bytes(), &reader.get(target).body);
        }
        let asked = setup.asked_during(|| assert!(reader.get(target).is_hit()));
        assert_eq!(asked, [], "{text}");
    }
    assert_eq!(writer.send("DELETE", target, &[], b"").status, 204);
    assert_eq!(reader.get(target).status, 404);
}

#[test]
#[ignore = "needs nginx: tests/all.sh runs it"]
fn viewers_of_one_cold_file_share_one_request_to_nginx() {
    const VIEWERS: usize = 10;
    let site = Site::new("shared");
    // Half a second at the rate that nginx.conf sets.
    let bytes = noise(4 << 20);
    site.write("/slow/large.bin", &bytes, DAY);
    let setup = Setup::start(site);

    let together = Barrier::new(VIEWERS);
    let asked = setup.asked_during(|| {
        thread::scope(|scope| {
            for _ in 0..VIEWERS {
                scope.spawn(|| {
                    let mut client = setup.edge_client();
                    together.wait();
                    assert_same_bytes("large.bin", &bytes, &client.get("/slow/large.bin").body);
                });
            }
        });
    });
    assert_eq!(asked.len(), 1, "{asked:?}");
}

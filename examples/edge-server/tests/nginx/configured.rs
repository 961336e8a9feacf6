//! nginx as the upstream of a configured site: alone, and as the second of a group.

use std::net::{SocketAddr, TcpListener};

use crate::agree::assert_same_bytes;
use crate::processes::Logged;
use crate::site::{Site, noise};
use crate::{DAY, Setup};

/// What is at `/files/` is nginx's `/long/`, what is at `/never/` is not kept, and everything else is a group's, whose first
/// is not there.
fn configuration(nginx: SocketAddr) -> String {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let nobody = nobody.expect("loopback has a free port");
    format!(
        r#"
        name = "e2e"
        [[listener]]
        address = "127.0.0.1:0"

        [origin.nginx]
        kind = "upstream"
        url = "http://{nginx}"
        host = "rewrite"
        [origin.nobody]
        kind = "upstream"
        url = "http://{nobody}"
        [group.pair]
        members = ["nobody", "nginx"]

        [policy.never]
        ttl = {{ max = "0s" }}

        [[behavior]]
        path = "/files/*"
        origin = "nginx"
        strip-prefix = "/files"
        add-prefix = "/long"
        methods = ["GET", "HEAD"]
        [[behavior]]
        path = "/never/*"
        origin = "nginx"
        strip-prefix = "/never"
        add-prefix = "/long"
        policy = "never"
        [[behavior]]
        path = "*"
        origin = "pair"
        "#
    )
}

fn asked(target: &str) -> Logged {
    Logged { method: "GET".to_owned(), target: target.to_owned(), status: 200, conditional: false }
}

#[test]
#[ignore = "needs nginx: tests/all.sh runs it"]
fn each_behavior_asks_nginx_for_its_own_path_and_keeps_by_its_own_policy() {
    let site = Site::new("behaviors");
    let (small, large) = (b"a page".to_vec(), noise(3_000_001));
    site.write("/long/page.txt", &small, DAY);
    site.write("/long/large.bin", &large, DAY);
    let setup = Setup::configured(site, configuration);
    let mut client = setup.edge_client();

    for (name, bytes) in [("page.txt", &small), ("large.bin", &large)] {
        let seen = setup.asked_during(|| {
            for is_hit in [false, true] {
                let answer = client.get(&format!("/files/{name}"));
                assert_eq!((answer.status, answer.is_hit()), (200, is_hit), "{name}: {answer:?}");
                assert_same_bytes(name, bytes, &answer.body);
            }
            let answer = client.send("GET", &format!("/files/{name}"), &[("Range", "bytes=2-4")], b"");
            assert_eq!((answer.status, answer.is_hit()), (206, true), "{name}: {answer:?}");
            assert_same_bytes(name, &bytes[2..5], &answer.body);
        });
        assert_eq!(seen, [asked(&format!("/long/{name}"))]);
    }

    let seen = setup.asked_during(|| {
        for _ in 0..2 {
            let answer = client.get("/never/page.txt");
            assert_eq!((answer.status, answer.is_hit()), (200, false), "{answer:?}");
            assert_same_bytes("page.txt", &small, &answer.body);
        }
    });
    assert_eq!(seen.len(), 2, "{seen:?}");

    let seen = setup.asked_during(|| {
        let refused = client.send("PUT", "/files/page.txt", &[], b"a write");
        assert_eq!((refused.status, refused.field("allow").as_deref()), (405, Some("GET, HEAD")));
    });
    assert_eq!(seen, []);
}

#[test]
#[ignore = "needs nginx: tests/all.sh runs it"]
fn nginx_answers_for_an_origin_that_is_not_there() {
    const PAGES: usize = 10;
    let site = Site::new("group");
    for number in 0..PAGES {
        site.write(&format!("/long/{number}.txt"), format!("page {number}").as_bytes(), DAY);
    }
    let setup = Setup::configured(site, configuration);
    let mut client = setup.edge_client();

    let seen = setup.asked_during(|| {
        for number in 0..PAGES {
            let answer = client.get(&format!("/long/{number}.txt"));
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_same_bytes("a page", format!("page {number}").as_bytes(), &answer.body);
            assert_eq!(answer.field("proxy-status").as_deref(), Some("e2e; next-hop=nginx"));
        }
    });
    let expected: Vec<Logged> = (0..PAGES).map(|number| asked(&format!("/long/{number}.txt"))).collect();
    assert_eq!(seen, expected);
    // A write is the first one's alone.
    let seen = setup.asked_during(|| {
        assert_eq!(client.send("PUT", "/dav/page.txt", &[], b"a write").status, 502);
    });
    assert_eq!(seen, []);
}

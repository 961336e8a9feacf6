//! Where things are for a viewer: redirects to `https://`, what an origin says of places, and what is cleared by its URL there.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use crate::configured::{Configured, Folder, LISTENER, catch_all, certificate, exchange, tls, upstream};
use crate::support::{origin, run};

const GET: &str = "GET /x HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n";

/// The files of a certificate in this folder, as a listener's last line.
fn files(folder: &Folder) -> String {
    let path = |name| folder.0.join(name).display().to_string();
    format!("tls = {{ certificate = \"{}\", key = \"{}\" }}\n", path("certificate.pem"), path("key.pem"))
}

#[test]
fn a_redirect_leads_to_where_tls_is() {
    let safe = "https = \"redirect\"\n";
    for (port, named) in
        [("", None), ("https-port = 443\n", Some("")), ("https-port = 8443\n", Some(":8443"))]
    {
        let folder = Folder::new("redirect");
        certificate(&folder);
        let demo = "[origin.o]\nkind = \"demo\"\n";
        let text = [port, demo, LISTENER, LISTENER, &files(&folder), &catch_all("o"), safe].concat();
        let edge = Configured::start(folder, 2, &text);
        let of_listener = format!(":{}", edge.addresses[1].port());
        let expected = format!("location: https://site{}/x\r\n", named.unwrap_or(&of_listener));
        let answer = edge.get("/x");
        assert!(answer.starts_with("HTTP/1.1 308 ") && answer.contains(&expected), "{expected}: {answer}");
    }
}

/// An origin that counts the answers it makes by their length, and answers a POST by saying where it has put something.
fn placing() -> SocketAddr {
    origin(|head, mut stream| {
        let own = stream.local_addr().unwrap();
        let answer = match head.split(' ').take(2).collect::<Vec<_>>()[..] {
            ["POST", "/v1/path"] => "201 Created\r\nLocation: /v1/made?a#b".to_owned(),
            ["POST", "/v1/own"] => format!("201 Created\r\nContent-Location: http://{own}/v1/made?a"),
            ["POST", "/v1/relative"] => "201 Created\r\nLocation: made?a".to_owned(),
            ["POST", _] => "200 OK".to_owned(),
            ["GET", "/v1/own"] => format!("302 Found\r\nLocation: http://{own}/v1/made"),
            ["GET", "/v1/other"] => "302 Found\r\nLocation: http://other/v1/made".to_owned(),
            _ => "200 OK\r\nCache-Control: max-age=60".to_owned(),
        };
        let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes());
    })
}

#[test]
fn what_an_origin_says_of_places_is_true_for_the_viewer_and_clears_what_it_names() {
    let behavior =
        "[[behavior]]\npath = \"/shop/*\"\norigin = \"o\"\nstrip-prefix = \"/shop\"\nadd-prefix = \"/v1\"\n";
    let text =
        [&upstream("o", placing()), "host = \"rewrite\"\n", LISTENER, behavior, &catch_all("o")].concat();
    let edge = Configured::start(Folder::new("places"), 1, &text);
    let post = |path: &str| {
        edge.talk(&format!(
            "POST {path} HTTP/1.1\r\nHost: site\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ))
    };
    for (path, says) in [
        ("/shop/path", "location: /shop/made?a#b\r\n"),
        ("/shop/own", "content-location: http://site/shop/made?a\r\n"),
        ("/shop/relative", "location: /shop/made?a\r\n"),
    ] {
        edge.get("/shop/made?a");
        assert!(edge.get("/shop/made?a").contains("; hit"));
        let answer = post(path);
        assert!(answer.starts_with("HTTP/1.1 201 ") && answer.contains(says), "{answer}");
        assert!(!edge.get("/shop/made?a").contains("; hit"), "{path}");
    }
    assert!(post("/shop/nothing").starts_with("HTTP/1.1 200 "));
    assert!(edge.get("/shop/made?a").contains("; hit"), "nothing else is cleared");
    assert!(edge.get("/shop/own").contains("location: http://site/shop/made\r\n"));
    assert!(edge.get("/shop/other").contains("location: http://other/v1/made\r\n"));
}

#[test]
fn a_target_that_its_prefix_makes_too_long_is_the_viewers_fault() {
    let behavior = "[[behavior]]\npath = \"*\"\norigin = \"o\"\nadd-prefix = \"/v1\"\n";
    let limits = "[limits]\nhead-size = \"128KiB\"\n";
    let text = [limits, "[origin.o]\nkind = \"demo\"\n", LISTENER, behavior].concat();
    let edge = Configured::start(Folder::new("long"), 1, &text);
    let answer = edge.get(&format!("/{}", "x".repeat(65_532)));
    assert!(answer.starts_with("HTTP/1.1 414 "), "{answer}");
}

#[test]
fn what_came_by_tls_is_cleared_by_its_path_and_by_its_url() {
    let folder = Folder::new("cleared");
    let trust = certificate(&folder);
    let site = origin(|_, mut stream| {
        let head =
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\nCache-Control: max-age=60\r\n\r\n";
        let _ = stream.write_all(head.as_bytes());
    });
    let control = "[control]\naddress = \"127.0.0.1:0\"\n";
    let text = [control, &upstream("o", site), LISTENER, LISTENER, &files(&folder), &catch_all("o")].concat();
    let edge = Configured::start(folder, 3, &text);
    let [plain, secure, control] = edge.addresses[..] else { panic!("two listeners and a control port") };
    let by_tls = || exchange(tls(secure, &trust, &[]).unwrap(), GET).contains("; hit");
    let in_the_clear = || exchange(TcpStream::connect(plain).unwrap(), GET).contains("; hit");
    let control = control.to_string();
    for (words, clears) in [
        (&["/x"][..], true),
        (&["/x", "--host", "site"], true),
        (&["/*", "--host", "site"], true),
        (&["/x", "--host", "other"], false),
    ] {
        let _ = (by_tls(), in_the_clear());
        assert!(by_tls() && in_the_clear());
        let objects = run(&["objects", "https://site/x", "--control", &control]);
        assert!(String::from_utf8_lossy(&objects.stdout).starts_with("status         200"), "{objects:?}");
        let output = run(&[&["invalidate", "--wait", "--control", &control], words].concat());
        assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
        // A path and a host are of either scheme.
        assert_eq!([by_tls(), in_the_clear()], [!clears; 2], "{words:?}");
    }
}

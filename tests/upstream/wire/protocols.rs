//! HTTP/1.1 and HTTP/2, with TLS and without.

use http::{HeaderMap, Request, Version};
use http_body_util::BodyExt;
use tower_edge::origin::upstream::{ErrorKind, HostField, Protocol, Tls, Upstream};

use crate::support::{Certificate, Origin, ask, get, kind_of, only, secure, unmeasured};

#[tokio::test]
async fn without_tls_it_is_http_1_unless_told_otherwise() {
    let origin = Origin::echo().await;
    for (protocol, first) in [
        (Protocol::Negotiated, "GET /a?b HTTP/1.1\n"),
        (Protocol::Http1, "GET /a?b HTTP/1.1\n"),
        (Protocol::Http2, "GET http://site/a?b HTTP/2.0\n"),
    ] {
        let upstream = Upstream::builder(origin.url()).protocol(protocol).build().unwrap();
        let answer = ask(&upstream, get("/a?b")).await.unwrap();
        assert!(answer.text.starts_with(first), "{}", answer.text);
        assert_eq!(answer.text.contains("\nhost: site\n"), protocol != Protocol::Http2, "{}", answer.text);
    }
}

#[tokio::test]
async fn with_tls_both_sides_agree() {
    let certificate = Certificate::of("localhost");
    for (offered, protocol, expected) in [
        (&["h2", "http/1.1"][..], Protocol::Negotiated, Ok("HTTP/2.0\n")),
        (&["http/1.1"], Protocol::Negotiated, Ok("HTTP/1.1\n")),
        (&[], Protocol::Negotiated, Ok("HTTP/1.1\n")),
        (&["h2", "http/1.1"], Protocol::Http1, Ok("HTTP/1.1\n")),
        (&["h2", "http/1.1"], Protocol::Http2, Ok("HTTP/2.0\n")),
        (&["http/1.1"], Protocol::Http2, Err(ErrorKind::Tls)),
        (&[], Protocol::Http2, Err(ErrorKind::Tls)),
    ] {
        let origin = Origin::secure_echo(&certificate, offered).await;
        let upstream = secure(&origin, &certificate).protocol(protocol).build().unwrap();
        match (ask(&upstream, get("/")).await, expected) {
            (Ok(answer), Ok(version)) => assert!(answer.text.contains(version), "{}", answer.text),
            (Err(error), Err(kind)) => assert_eq!(error.kind(), kind),
            (answer, _) => panic!("{offered:?} {protocol:?}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn host_is_kept_or_rewritten_and_the_name_of_tls_never_comes_from_a_viewer() {
    let certificate = Certificate::of("localhost");
    let other = Certificate::of("other.example");
    for protocols in [&["h2"][..], &["http/1.1"]] {
        let origin = Origin::secure_echo(&certificate, protocols).await;
        let port = origin.address.port();
        let there = Origin::secure_echo(&other, protocols).await;
        for (builder, host, sni) in [
            (secure(&origin, &certificate), "site".to_owned(), "localhost"),
            (secure(&origin, &certificate).host(HostField::Origin), format!("localhost:{port}"), "localhost"),
            (
                secure(&there, &other).host(HostField::Name("other.example:81".to_owned())),
                "other.example:81".to_owned(),
                "other.example",
            ),
            (
                secure(&there, &other).tls(Tls { name: Some("other.example".to_owned()), ..other.trusted() }),
                "site".to_owned(),
                "other.example",
            ),
        ] {
            let answer = ask(&builder.build().unwrap(), get("/")).await.unwrap();
            assert!(answer.text.starts_with(&format!("sni: {sni}\n")), "{}", answer.text);
            let line = match protocols {
                ["h2"] => format!("GET https://{host}/ HTTP/2.0\n"),
                _ => format!("\nhost: {host}\n"),
            };
            assert!(answer.text.contains(&line), "{line}: {}", answer.text);
            assert!(answer.text.contains("\nx-forwarded-host: site\n"), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn whoever_cannot_prove_its_name_is_not_asked() {
    let (certificate, other) = (Certificate::of("localhost"), Certificate::of("localhost"));
    let origin = Origin::secure_echo(&certificate, &[]).await;
    let named = |name: &str| Tls { name: Some(name.to_owned()), ..certificate.trusted() };
    for builder in [
        secure(&origin, &other),
        // The system does not know a certificate that was made just now.
        secure(&origin, &certificate).tls(Tls { roots: other.trusted().roots, ..Tls::default() }),
        secure(&origin, &certificate).tls(named("other.example")),
        secure(&origin, &certificate).host(HostField::Name("other.example".to_owned())),
    ] {
        let upstream = builder.build().unwrap();
        let error = ask(&upstream, get("/")).await.unwrap_err();
        assert_eq!((error.kind(), error.status().as_u16()), (ErrorKind::Tls, 502), "{error:?}");
        assert!(!error.page().contains("localhost"));
    }
    let both =
        Tls { roots: [other.trusted().roots, certificate.trusted().roots].concat(), ..certificate.trusted() };
    let upstream = secure(&origin, &certificate).tls(both).build().unwrap();
    ask(&upstream, get("/")).await.unwrap();
}

#[tokio::test]
async fn an_origin_without_tls_is_no_origin_with_tls() {
    let plain = Origin::echo().await;
    let upstream = secure(&plain, &Certificate::of("localhost")).build().unwrap();
    assert_eq!(kind_of(&upstream).await, ErrorKind::Tls);
}

#[tokio::test]
async fn trailers_pass_both_ways_without_fields_of_the_connection() {
    let origin = Origin::echo().await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let upstream = Upstream::builder(origin.url()).protocol(protocol).build().unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-end", "1".parse().unwrap());
        trailers.insert("connection", "x".parse().unwrap());
        let body = unmeasured("hello".to_owned()).with_trailers(async { Some(Ok(trailers)) });
        let request = Request::post("/")
            .header("host", "site")
            .header("te", "trailers")
            .header("trailer", "x-end, connection")
            .body(body)
            .unwrap();
        let answer = ask(&upstream, request).await.unwrap();
        assert!(answer.text.ends_with("trailer x-end: 1\nbody: hello\n"), "{}", answer.text);
        assert!(answer.text.contains("\nte: trailers\n"), "{}", answer.text);
        let trailers = answer.trailers.unwrap();
        assert_eq!(trailers["x-sum"], "42");
        assert!(!trailers.contains_key("keep-alive"));
        assert_eq!(
            answer.head.headers["via"],
            if protocol == Protocol::Http2 { "2.0 tower-edge" } else { "1.1 tower-edge" }
        );
        assert_eq!(answer.head.version, Version::HTTP_11);
    }
}

#[tokio::test]
async fn odd_targets_reach_the_origin_as_they_were() {
    let origin = Origin::echo().await;
    for (protocol, prefix) in [(Protocol::Http1, ""), (Protocol::Http2, "http://site")] {
        let upstream = Upstream::builder(origin.url()).protocol(protocol).build().unwrap();
        for target in ["/a//b/../%2F?x=%20&y", "/a?", "/"] {
            let answer = ask(&upstream, get(target)).await.unwrap();
            let line = format!("GET {prefix}{target} HTTP/");
            assert!(answer.text.starts_with(&line), "{line}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn a_bracketed_address_is_an_address() {
    let Ok(listener) = tokio::net::TcpListener::bind("[::1]:0").await else {
        return eprintln!("no IPv6 here");
    };
    let origin = Origin::on(listener, |_, stream| crate::support::serve(stream, String::new()));
    // No name, so nobody is asked for one.
    let upstream = Upstream::builder(origin.url()).resolver(only(Vec::new())).build().unwrap();
    ask(&upstream, get("/")).await.unwrap();
}

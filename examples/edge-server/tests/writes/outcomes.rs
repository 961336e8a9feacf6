//! What a write clears, by what became of it.

use crate::files::{Answer, Files, put, write_to};
use crate::{body, cache_status};

const FLAGS: [&str; 2] = ["--ttl", "60s"];

#[test]
fn a_post_clears_what_its_answer_names_within_its_origin() {
    for (field, cleared) in [
        ("Location: /b", true),
        ("Content-Location: /b", true),
        ("Location: b", true),
        ("Location: http://site/b", true),
        ("Content-Location: //site/b", true),
        // Of another origin it says nothing (RFC 9111 §4.4).
        ("Location: http://other/b", false),
        ("Content-Location: https://site/b", false),
        ("Location: /c", false),
    ] {
        let files = Files::start();
        files.keep("/b", "before");
        let edge = files.edge(&FLAGS);
        edge.get("/b", "");
        assert!(cache_status(&edge.get("/b", "")).contains("hit"));
        files.answer_next("POST", Answer::With(field.to_owned()));
        files.keep("/b", "after");
        let answer = write_to(&edge, "POST", "/a", "", "more");
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        let expected = if cleared { "after" } else { "before" };
        assert_eq!(body(&edge.get("/b", "")), expected, "{field}");
    }
}

#[test]
fn a_write_that_failed_clears_nothing_and_one_that_may_have_worked_clears_its_target() {
    for (answer, cleared) in [
        (Answer::Refuse(400), false),
        (Answer::Refuse(403), false),
        (Answer::Refuse(412), false),
        (Answer::Refuse(500), false),
        (Answer::Refuse(503), false),
        // A gateway behind it does not know.
        (Answer::Refuse(502), true),
        (Answer::Refuse(504), true),
        (Answer::Reset, true),
        (Answer::With("X-Nothing: special".to_owned()), true),
    ] {
        for writes in ["around", "through"] {
            let files = Files::start();
            files.keep("/a", "before");
            let edge = files.edge(&[&FLAGS[..], &["--writes", writes]].concat());
            edge.get("/a", "");
            files.answer_next("PUT", answer.clone());
            let written = put(&edge, "/a", "", "after");
            let (status, reads) = (&written[9..12], files.count("GET /a"));
            let read = edge.get("/a", "");
            let told = match &answer {
                Answer::Refuse(code) => (*code).to_string(),
                Answer::Reset => "502".to_owned(),
                _ => "204".to_owned(),
            };
            assert_eq!(status, told);
            assert_eq!(body(&read), files.kept("/a").unwrap(), "{status} {writes}");
            // Only a whole success is kept, and only if it is to be.
            let asked = cleared && !(writes == "through" && status == "204");
            assert_eq!(files.count("GET /a") > reads, asked, "{status} {writes}: {read}");
        }
    }
}

#[test]
fn a_write_that_the_origin_leaves_without_an_answer_clears_its_target() {
    for writes in ["around", "through"] {
        let files = Files::start();
        files.keep("/a", "before");
        let edge = files.edge(&[&FLAGS[..], &["--writes", writes, "--first-byte-time", "300ms"]].concat());
        edge.get("/a", "");
        files.answer_next("PUT", Answer::Silence);
        let written = put(&edge, "/a", "", "after");
        assert!(written.starts_with("HTTP/1.1 504"), "{written}");
        assert_eq!(body(&edge.get("/a", "")), "after", "{writes}");
    }
}

#[test]
fn delete_clears() {
    let files = Files::start();
    files.keep("/a", "before");
    let edge = files.edge(&FLAGS);
    edge.get("/a", "");
    assert!(write_to(&edge, "DELETE", "/a", "", "").starts_with("HTTP/1.1 204"));
    assert!(edge.get("/a", "").starts_with("HTTP/1.1 404"));
}

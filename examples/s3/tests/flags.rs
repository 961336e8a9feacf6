//! What cannot work is said by its name, before anybody is told where the edge listens.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::net::TcpListener;
use std::process::Command;

/// What the example says on its way out.
fn refused(flags: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_s3-example"));
    let output = command.args(flags).envs(variables.iter().copied()).output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(2), &b""[..]), "{flags:?} {variables:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The same in front of a bucket.
fn refused_at(listen: &str, flags: &[&str], variables: &[(&str, &str)]) -> String {
    refused(&[flags, &["--listen", listen, "--bucket", "photos"]].concat(), variables)
}

#[test]
fn flags_that_cannot_work_are_named() {
    // Taken, so that an edge that takes the rest ends, too.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    for endpoint in ["foo", "localhost:9000", "ftp://localhost", "http://", "http://localhost/?a"] {
        let said = refused_at(&listen, &["--endpoint", endpoint], &[]);
        assert!(said.starts_with(&format!("s3-example: --endpoint {endpoint:?}: ")), "{said}");
    }
    for (variable, named) in
        [("AWS_ENDPOINT", "AWS_ENDPOINT or AWS_ENDPOINT_URL"), ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_S3")]
    {
        let said = refused_at(&listen, &[], &[(variable, "foo")]);
        assert!(said.starts_with(&format!("s3-example: {named} \"foo\": ")), "{said}");
    }
    let said = refused_at(&listen, &["--endpoint", "http://localhost"], &[("AWS_ENDPOINT_URL_S3", "foo")]);
    assert!(said.starts_with(&format!("s3-example: --listen {listen}: ")), "{said}");
    assert!(refused(&["--bucket", ""], &[]).contains("--bucket"));
}

//! What the demonstration prints is true.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::edge::command;

struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).stderr(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap().to_lowercase()
}

#[test]
#[ignore = "needs curl"]
fn each_line_that_the_demonstration_prints_does_what_it_says() {
    let mut demo = Demo(command().arg("demo-distribution").stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(demo.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut calls: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in lines {
        let text = line.trim();
        if std::mem::replace(&mut goes_on, text.ends_with('\\')) {
            let call = calls.last_mut().unwrap();
            call.push('\n');
            call.push_str(text);
        } else if text.starts_with("curl ") {
            calls.push(text.to_owned());
        }
        if text.contains("/distribution   #") {
            break;
        }
    }
    let [frankfurt, new_york, again, nearest, clear, edges] = &calls[..] else { panic!("{calls:#?}") };
    let status = |answer: &str| {
        let lines = answer.lines().filter_map(|line| line.strip_prefix("cache-status: "));
        lines.collect::<Vec<_>>().join(", ")
    };
    let miss = "shield; fwd=uri-miss; stored, fra-1; fwd=uri-miss; stored";
    assert_eq!(status(&shell(frankfurt)), miss);
    let second = status(&shell(new_york));
    assert!(
        second.starts_with("shield; hit;") && second.ends_with("nyc-1; fwd=uri-miss; stored"),
        "{second}"
    );
    let third = status(&shell(again));
    assert!(third.contains("nyc-1; hit;"), "{third}");
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(json(&shell(nearest))["name"], "fra-1");
    let receipt = json(&shell(clear));
    assert_eq!((&receipt["state"], receipt["edges"].as_array().unwrap().len()), (&"completed".into(), 4));
    assert_eq!(status(&shell(frankfurt)), miss, "gone everywhere");
    assert_eq!(json(&shell(edges))["edges"].as_array().unwrap().len(), 4);
}

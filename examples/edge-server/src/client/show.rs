//! The server's answers, for people.
//!
//! What others chose (tags, field values, references) is escaped: a terminal obeys some characters.

use std::fmt::Write;

use crate::api::{
    Charge, DistributionReceipt, Field, Objects, Receipt, Receipts, State, Stats, StoredObject, Usage,
};

pub(super) fn receipt(receipt: &Receipt) -> String {
    let mut text = format!("{}  {}\n", receipt.id, state(receipt.state));
    line(
        &mut text,
        "in force",
        &format!("since {}{}", receipt.created, if receipt.soft { ", soft" } else { "" }),
    );
    if let Some(reference) = &receipt.reference {
        line(&mut text, "reference", &escaped(reference));
    }
    line(&mut text, if receipt.soft { "made stale" } else { "cleared" }, &cleared(receipt));
    line(&mut text, "cost", &cost(&receipt.charge));
    text
}

pub(super) fn progress(receipt: &Receipt) -> String {
    format!("{}  {}, {} so far", receipt.id, state(receipt.state), cleared(receipt))
}

pub(super) fn distribution_receipt(receipt: &DistributionReceipt) -> String {
    let mut text = format!("{}  {}\n", receipt.id, state(receipt.state));
    line(&mut text, "in the log", &format!("since {}", receipt.created));
    if let Some(reference) = &receipt.reference {
        line(&mut text, "reference", &escaped(reference));
    }
    if let Some(trouble) = &receipt.trouble {
        line(&mut text, "trouble", &escaped(trouble));
    }
    for edge in &receipt.edges {
        let reached = match edge.state.as_str() {
            "silent" => "silent: no word from it, so it does as its --without-contact says",
            "pending" => "pending: not in force yet",
            "applied" => "applied: in force",
            "swept" => "swept: in force, and out of its memory",
            other => other,
        };
        line(&mut text, &escaped(&edge.name), &escaped(reached));
    }
    text
}

pub(super) fn distribution_progress(receipt: &DistributionReceipt) -> String {
    if let Some(trouble) = &receipt.trouble {
        return format!("{}  {}: {}", receipt.id, state(receipt.state), escaped(trouble));
    }
    let edges: Vec<_> = receipt
        .edges
        .iter()
        .map(|edge| format!("{} {}", escaped(&edge.name), escaped(&edge.state)))
        .collect();
    format!("{}  {}: {}", receipt.id, state(receipt.state), edges.join(", "))
}

pub(super) fn receipts(receipts: &Receipts) -> String {
    let mut text = String::new();
    for receipt in &receipts.invalidations {
        let reference = receipt.reference.as_deref().map(escaped).unwrap_or_default();
        let (id, created, state) = (&receipt.id, &receipt.created, state(receipt.state));
        let row = format!("{id}  {created}  {state:<11}  {}  {reference}", cleared(receipt));
        text += row.trim_end();
        text.push('\n');
    }
    match &receipts.next {
        _ if text.is_empty() => "there were none\n".into(),
        Some(_) => text + "and older ones\n",
        None => text,
    }
}

pub(super) fn usage(usage: &Usage) -> String {
    let mut text = String::new();
    line(&mut text, "month", &usage.month);
    line(&mut text, "paths", &format!("{}, of which {} are free", usage.paths, usage.free_paths));
    line(&mut text, "price", &format!("{} a path after those", usd(usage.price_micro_usd)));
    line(&mut text, "cost", &usd(usage.amount_micro_usd));
    if let Some(budget) = usage.budget_micro_usd {
        line(&mut text, "budget", &usd(budget));
    }
    text
}

pub(super) fn stats(stats: &Stats) -> String {
    let mut text = String::new();
    for (name, value) in [
        ("requests", stats.requests),
        ("hits", stats.hits),
        ("stale hits", stats.stale_hits),
        ("misses", stats.misses),
        ("revalidations", stats.revalidations),
        ("collapsed", stats.collapsed),
        ("passed", stats.passed),
        ("stored", stats.stored),
        ("refreshed", stats.refreshed),
        ("not stored", stats.not_stored),
        ("prefetched", stats.prefetched),
        ("failed bodies", stats.failed_bodies),
        ("invalidations", stats.invalidations),
        ("objects", stats.objects),
    ] {
        line(&mut text, name, &value.to_string());
    }
    line(&mut text, "held", &bytes(stats.bytes));
    line(&mut text, "fills", &stats.fills.to_string());
    line(&mut text, "in flight", &bytes(stats.bytes_in_flight));
    text
}

pub(super) fn objects(objects: &Objects) -> String {
    if objects.objects.is_empty() {
        return format!("nothing is stored for {}\n", escaped(&objects.url));
    }
    let texts: Vec<_> = objects.objects.iter().map(object).collect();
    texts.join("\n")
}

fn object(object: &StoredObject) -> String {
    let mut text = String::new();
    let size = match object.part {
        Some(part) => format!("bytes {} to {} of {}", part.start, part.end, object.size),
        None => bytes(object.size),
    };
    line(&mut text, "status", &format!("{}, {size}", object.status));
    let freshness = match object.ttl {
        _ if object.softly_invalidated => "stale (invalidated)".to_owned(),
        ttl if ttl > 0 => format!("fresh for {ttl} s"),
        ttl => format!("stale for {} s", ttl.unsigned_abs()),
    };
    line(&mut text, "age", &format!("{} s, {freshness}", object.age));
    let headers =
        [("type", &object.content_type), ("etag", &object.etag), ("modified", &object.last_modified)];
    for (name, value) in headers {
        if let Some(value) = value {
            line(&mut text, name, &escaped(value));
        }
    }
    for (name, values) in [("tags", &object.tags), ("groups", &object.groups)] {
        if !values.is_empty() {
            line(&mut text, name, &values.iter().map(|value| escaped(value)).collect::<Vec<_>>().join(", "));
        }
    }
    for (name, fields) in [("varies by", &object.vary), ("keyed by", &object.key_fields)] {
        for field in fields {
            line(&mut text, name, &shown(field));
        }
    }
    text
}

fn shown(field: &Field) -> String {
    match &field.value {
        Some(value) => format!("{}: {}", field.name, escaped(value)),
        None if field.withheld => format!("{}: (withheld)", field.name),
        None => format!("{}: (absent)", field.name),
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::InProgress => "in progress",
        State::Completed => "completed",
    }
}

fn cleared(receipt: &Receipt) -> String {
    let objects = counted(receipt.objects, "object");
    match receipt.fills_revoked {
        0 => format!("{objects} ({})", bytes(receipt.bytes)),
        fills => format!("{objects} ({}), {} under way", bytes(receipt.bytes), counted(fills, "fetch")),
    }
}

fn cost(charge: &Charge) -> String {
    let paths = counted(charge.paths, "path");
    match charge.billed_paths {
        0 => format!("nothing for {paths}"),
        billed if billed == charge.paths => format!("{} for {paths}", usd(charge.amount_micro_usd)),
        billed => format!("{} for {paths}, {billed} of them billed", usd(charge.amount_micro_usd)),
    }
}

fn counted(number: u64, what: &str) -> String {
    let end = match (number, what.ends_with("ch")) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {what}{end}")
}

fn usd(millionths: u64) -> String {
    format!("US${}.{:06}", millionths / 1_000_000, millionths % 1_000_000)
}

fn bytes(bytes: u64) -> String {
    for (unit, size) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= size {
            return format!("{}.{} {unit}", bytes / size, bytes % size * 10 / size);
        }
    }
    format!("{bytes} B")
}

pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => escaped.push(c),
            _ => escaped.extend(c.escape_debug()),
        }
    }
    escaped
}

fn line(text: &mut String, name: &str, value: &str) {
    writeln!(text, "{name:<14} {value}").expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_money_are_rounded_down() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (1_600_000, "1.5 MiB"),
            (3 << 30, "3.0 GiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(usd(1_005_000), "US$1.005000");
        let charge =
            |paths, billed_paths| Charge { paths, billed_paths, amount_micro_usd: billed_paths * 5_000 };
        assert_eq!(cost(&charge(1, 0)), "nothing for 1 path");
        assert_eq!(cost(&charge(2, 2)), "US$0.010000 for 2 paths");
        assert_eq!(cost(&charge(3, 1)), "US$0.005000 for 3 paths, 1 of them billed");
    }

    #[test]
    fn a_terminal_is_not_obeyed() {
        let field = Field { name: "x".into(), value: Some("\u{1b}[2J\u{9b}m".into()), withheld: false };
        assert!(shown(&field).chars().all(|c| !c.is_control()));
    }
}

//! The conformance table of `docs/reference/protocol.md`, drawn from what the replays check.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use adjutant_protocol::{Audience, event_specs};

use super::{known, transcript};

const PAGE: &str = "docs/reference/protocol.md";
const BEGIN: &str = "<!-- drawn by the replay tests: begin -->\n";
const END: &str = "<!-- drawn by the replay tests: end -->\n";
/// Set it to write the tables anew.
const WRITE: &str = "ADJUTANT_WRITE_DOCS";

#[derive(Default)]
struct Calls {
    sockets: usize,
    answered: usize,
    refused: Vec<String>,
    not_here: Vec<String>,
}

fn calls_of(name: &str) -> Calls {
    let mut calls = Calls::default();
    for line in transcript::read(name) {
        if !line.is_request() {
            continue;
        }
        let method = line.text("/method").to_owned();
        if method == "connect" {
            calls.sockets += 1;
        } else if known::not_here(&method).is_some() {
            calls.not_here.push(method);
        } else if known::refused(&method).is_some() {
            calls.refused.push(method);
        } else {
            calls.answered += 1;
        }
    }
    for list in [&mut calls.refused, &mut calls.not_here] {
        list.sort();
        list.dedup();
    }
    calls
}

fn list(methods: &[String]) -> String {
    match methods {
        [] => "–".to_owned(),
        [one] => format!("`{one}`"),
        several => format!("{} methods", several.len()),
    }
}

fn tables() -> String {
    let mut out = String::new();
    let mut releases: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in transcript::names() {
        let release = transcript::release(&name).to_owned();
        releases.entry(release).or_default().push(name);
    }
    for (release, names) in &releases {
        let _infallible = writeln!(out, "### Client release {release}\n");
        out.push_str(
            "| action | sockets | calls answered as recorded | refused on purpose | not here |\n",
        );
        out.push_str("|---|---|---|---|---|\n");
        for name in names {
            let calls = calls_of(name);
            let action = name.split_once("--").map_or("", |(_, action)| action);
            let _infallible = writeln!(
                out,
                "| {action} | {} | {} | {} | {} |",
                calls.sockets,
                calls.answered,
                list(&calls.refused),
                list(&calls.not_here)
            );
        }
        out.push('\n');
    }
    out.push_str("### Refused on purpose\n\n| method | why |\n|---|---|\n");
    for (method, _, why) in known::REFUSED {
        let _infallible = writeln!(out, "| `{method}` | {why} |");
    }
    out.push_str("\n### Not here\n\n| method | why |\n|---|---|\n");
    for (method, why) in known::NOT_HERE {
        let _infallible = writeln!(out, "| `{method}` | {why} |");
    }
    out.push_str("\n### Events\n\n| event | who hears it | what it says |\n|---|---|---|\n");
    for row in event_specs() {
        let who = match row.audience {
            Audience::Everyone => "every connection".to_owned(),
            Audience::Operators(scope) => format!("`{scope}`"),
            Audience::Subscribers => "`operator.read`, after `sessions.subscribe`".to_owned(),
            Audience::OneSocket => "one connection".to_owned(),
        };
        let _infallible = writeln!(out, "| `{}` | {who} | {} |", row.name, row.summary());
    }
    out.push('\n');
    out
}

#[test]
fn the_conformance_tables_are_what_the_replays_check() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (drawn, after) = rest.split_once(END).unwrap();
    let tables = tables();
    if drawn == tables {
        return;
    }
    assert!(
        std::env::var_os(WRITE).is_some(),
        "{PAGE} is out of date: run this test with {WRITE}=1"
    );
    std::fs::write(&path, format!("{before}{BEGIN}{tables}{END}{after}")).unwrap();
}

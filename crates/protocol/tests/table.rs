//! The method table as data: what clients and generators rely on.

use std::collections::BTreeSet;

use adjutant_protocol::{Kind, Reply, event_specs, schema, specs};
use serde_json::Value;

#[test]
fn the_table_is_what_it_was() {
    let mut table = String::new();
    for spec in specs() {
        let line = format!(
            "{:24} {:18} {:?} {:?} {:?}\n",
            spec.name,
            spec.access.word(),
            spec.kind,
            spec.order,
            spec.reply
        );
        table.push_str(&line);
    }
    insta::assert_snapshot!(table);
}

#[test]
fn names_are_unique_and_every_method_is_described() {
    // covers: S11
    let mut names = BTreeSet::new();
    for spec in specs() {
        assert!(names.insert(spec.name), "{} appears twice", spec.name);
        assert!(spec.summary().ends_with('.'), "{}", spec.name);
    }
    let twice: Vec<&str> = specs()
        .filter(|spec| spec.reply == Reply::AckThenFinal)
        .map(|spec| spec.name)
        .collect();
    assert_eq!(twice, ["agent", "exec.approval.request"]);
}

#[test]
fn parameters_are_closed_and_documented_and_writes_take_a_key() {
    // covers: D7, R5
    let document = schema::schema();
    for spec in specs() {
        let params = document["methods"][spec.name]["params"]["$ref"].as_str();
        let params = params.expect("parameters are a type of their own");
        let params = &document
            .pointer(params.trim_start_matches('#'))
            .expect("it exists");
        assert_eq!(
            params["additionalProperties"],
            Value::Bool(false),
            "{}",
            spec.name
        );
        let empty = serde_json::Map::new();
        let properties = params["properties"].as_object().unwrap_or(&empty);
        for (name, property) in properties {
            let known = property.get("description").is_some() || property.get("$ref").is_some();
            assert!(known, "{}.{name} has no description", spec.name);
        }
        // What nodes say replaces what they said before, or names the request it answers.
        if spec.kind == Kind::Write && spec.access.scope().is_some() {
            assert!(properties.contains_key("idempotencyKey"), "{}", spec.name);
        }
    }
}

#[test]
fn every_reference_of_the_documents_leads_somewhere() {
    for (document, at) in [
        (schema::schema(), "/$defs/"),
        (schema::openrpc("1.2.3"), "/components/schemas/"),
    ] {
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(!references.is_empty());
        for reference in references {
            let path = reference.trim_start_matches('#');
            assert!(path.starts_with(at), "{reference}");
            assert!(
                document.pointer(path).is_some(),
                "{reference} leads nowhere"
            );
        }
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if let ("$ref", Value::String(reference)) = (name.as_str(), value) {
                    references.push(reference.clone());
                }
                collect(value, references);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}

#[test]
fn the_reference_has_a_page_for_every_method_and_a_row_for_every_code() {
    let page = schema::reference();
    for spec in specs() {
        assert!(
            page.contains(&format!("\n## `{}`\n", spec.name)),
            "{}",
            spec.name
        );
    }
    assert!(page.contains("| `IDEMPOTENCY_MISMATCH` | -32000 |"));
}

#[test]
fn every_event_has_one_row_that_says_who_hears_it() {
    // covers: S11
    let mut names = BTreeSet::new();
    let mut table = String::new();
    for spec in event_specs() {
        assert!(names.insert(spec.name), "{} appears twice", spec.name);
        assert!(spec.summary().ends_with('.'), "{}", spec.name);
        let (to, loss) = (spec.audience.word(), spec.loss.word());
        table.push_str(&format!("{:24} {to:20} {loss}\n", spec.name));
    }
    insta::assert_snapshot!(table);
}

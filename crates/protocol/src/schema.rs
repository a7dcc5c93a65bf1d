//! The method table as documents: OpenRPC, one JSON Schema for generators, and the reference in Markdown.

use std::fmt::Write as _;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema as _, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::fault::{CODES, Retry, wire};
use crate::frames::{ConnectParams, Protocol};
use crate::method::{Access, Kind, MethodSpec, Order, Reply};
use crate::methods::NAMESPACES;
use crate::methods::system::{WireDelta, WireEvent};
use crate::specs;

fn generator(definitions: &'static str) -> SchemaGenerator {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = definitions.into();
    settings.into_generator()
}

/// The OpenRPC document that `rpc.discover` returns.
#[must_use]
pub fn openrpc(version: &str) -> Value {
    let mut generator = generator("/components/schemas");
    let methods: Vec<Value> = specs()
        .map(|spec| openrpc_method(spec, &mut generator))
        .collect();
    let schemas: Map<String, Value> = generator.take_definitions(true);
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "adjutant",
            "version": version,
            "description": "Calls over POST /rpc and WebSocket /rpc. The same names work as frames over WebSocket /.",
        },
        "methods": methods,
        "components": { "schemas": schemas },
    })
}

fn openrpc_method(spec: &MethodSpec, generator: &mut SchemaGenerator) -> Value {
    let params = (spec.params)(generator).to_value();
    let result = (spec.result)(generator).to_value();
    let empty = Map::new();
    let properties = params
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let required: Vec<&str> = params
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let params: Vec<Value> = properties
        .iter()
        .map(|(name, schema)| {
            json!({ "name": name, "required": required.contains(&name.as_str()), "schema": schema })
        })
        .collect();
    json!({
        "name": spec.name,
        "summary": spec.summary(),
        "paramStructure": "by-name",
        "params": params,
        "result": { "name": "result", "schema": result },
        "x-scope": spec.access.word(),
        "x-kind": kind_word(spec.kind),
        "x-order": order_word(spec.order),
        "x-reply": reply_word(spec.reply),
    })
}

/// The whole protocol as one JSON document: the source of every generated file.
#[must_use]
pub fn schema() -> Value {
    let mut generator = generator("/$defs");
    let mut methods = Map::new();
    for spec in specs() {
        let entry = json!({
            "summary": spec.summary(),
            "params": (spec.params)(&mut generator).to_value(),
            "result": (spec.result)(&mut generator).to_value(),
            "scope": spec.access.word(),
            "kind": kind_word(spec.kind),
            "order": order_word(spec.order),
            "reply": reply_word(spec.reply),
        });
        methods.insert(spec.name.to_owned(), entry);
    }
    let notifications = json!({
        "event": generator.subschema_for::<WireEvent>().to_value(),
        "delta": generator.subschema_for::<WireDelta>().to_value(),
    });
    let codes: Map<String, Value> = CODES
        .iter()
        .map(|code| {
            let wire = wire(*code);
            let entry = json!({
                "frames": wire.frames, "rpc": wire.rpc, "http": wire.http, "retry": retry_word(wire.retry),
            });
            (wire.word.to_owned(), entry)
        })
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "protocols": [Protocol::V3.number(), Protocol::V4.number()],
        "connect": ConnectParams::json_schema(&mut generator).to_value(),
        "methods": methods,
        "notifications": notifications,
        "codes": codes,
        "$defs": generator.take_definitions(true),
    })
}

/// `docs/reference/methods.md`, drawn from the table.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(
        "# Methods\n\nGenerated from the method table; do not edit. The same names work in JSON-RPC (`POST /rpc`, WebSocket \
         `/rpc`) and as frames (WebSocket `/`).\n",
    );
    for (_, rows) in NAMESPACES {
        for spec in *rows {
            out.push_str(&method_page(spec));
        }
    }
    out.push_str(
        "\n# Errors\n\n| code | JSON-RPC | frames | HTTP | retry |\n|---|---|---|---|---|\n",
    );
    for code in CODES {
        let wire = wire(*code);
        let row = format!(
            "| `{}` | {} | `{}` | {} | {} |\n",
            wire.word,
            wire.rpc,
            wire.frames,
            wire.http,
            retry_word(wire.retry)
        );
        out.push_str(&row);
    }
    out
}

fn method_page(spec: &MethodSpec) -> String {
    let mut generator = generator("/$defs");
    let params = (spec.params)(&mut generator).to_value();
    let mut page = format!("\n## `{}`\n\n{}\n\n", spec.name, spec.summary());
    let order = match spec.order {
        Order::Free => String::new(),
        Order::BySession => ", in order within a session".to_owned(),
        Order::Global(lane) => format!(", one at a time (`{lane}`)"),
    };
    let reply = match spec.reply {
        Reply::Once => "",
        Reply::AckThenFinal => ", answered twice in frames",
    };
    // Writing to a String cannot fail.
    let _infallible = writeln!(
        page,
        "{}, {}{order}{reply}.",
        match spec.access {
            Access::Operator(scope) => format!("Scope `{scope}`"),
            Access::Node => "For nodes only".to_owned(),
        },
        kind_word(spec.kind)
    );
    let Some(properties) = params.get("properties").and_then(Value::as_object) else {
        page.push_str("\nNo parameters.\n");
        return page;
    };
    if properties.is_empty() {
        page.push_str("\nNo parameters.\n");
        return page;
    }
    page.push_str("\n| parameter | type | |\n|---|---|---|\n");
    let required = params
        .get("required")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for (name, schema) in properties {
        let optional = if required.iter().any(|r| r == name) {
            ""
        } else {
            "?"
        };
        let docs = schema
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or("");
        let docs = docs.replace('\n', " ").replace('|', "\\|");
        page.push_str(&format!(
            "| `{name}`{optional} | {} | {docs} |\n",
            type_word(schema)
        ));
    }
    page
}

fn type_word(schema: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        return name.rsplit('/').next().unwrap_or(name).to_owned();
    }
    if let Some(options) = schema.get("anyOf").and_then(Value::as_array) {
        let words: Vec<String> = options
            .iter()
            .map(type_word)
            .filter(|word| word != "null")
            .collect();
        return words.join(" or ");
    }
    match schema.get("type") {
        Some(Value::String(word)) => word.clone(),
        Some(Value::Array(words)) => words
            .iter()
            .filter_map(Value::as_str)
            .filter(|word| *word != "null")
            .collect::<Vec<_>>()
            .join(" or "),
        _ => "any".to_owned(),
    }
}

const fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Read => "read",
        Kind::Write => "write",
    }
}

fn order_word(order: Order) -> String {
    match order {
        Order::Free => "free".to_owned(),
        Order::BySession => "by-session".to_owned(),
        Order::Global(lane) => format!("global:{lane}"),
    }
}

const fn reply_word(reply: Reply) -> &'static str {
    match reply {
        Reply::Once => "once",
        Reply::AckThenFinal => "ack-then-final",
    }
}

const fn retry_word(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "never",
        Retry::Once => "once",
        Retry::After => "after",
    }
}

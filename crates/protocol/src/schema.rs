//! The method table as documents: OpenRPC, one JSON Schema for generators, and the reference in Markdown.

mod plain;

use std::fmt::Write as _;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::envelope::Frame;
use crate::events::connection::ShutdownEvent;
use crate::events::event_specs;
use crate::fault::{CODES, Retry, wire};
use crate::frames::{Challenge, ConnectParams, HelloOk, Protocol};
use crate::method::{Access, Kind, MethodSpec, Order, Reply};
use crate::methods::NAMESPACES;
use crate::methods::system::{WireDelta, WireEvent};
use crate::specs;

/// The OpenRPC document that `rpc.discover` returns.
#[must_use]
pub fn openrpc(version: &str) -> Value {
    let mut document = schema();
    plain::move_references(&mut document, "#/components/schemas/");
    let methods: Vec<Value> = specs()
        .map(|spec| openrpc_method(spec, &document))
        .collect();
    let notifications: Map<String, Value> = document["notifications"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "adjutant",
            "version": version,
            "description": "Calls over POST /rpc and WebSocket /rpc. The same names work as frames over WebSocket /.",
        },
        "methods": methods,
        "x-notifications": notifications,
        "components": { "schemas": document["$defs"].take() },
    })
}

fn openrpc_method(spec: &MethodSpec, document: &Value) -> Value {
    let row = &document["methods"][spec.name];
    let params = resolved(document, &row["params"]);
    let required = required_of(params);
    let params: Vec<Value> = properties_of(params)
        .map(|(name, schema)| {
            json!({ "name": name, "required": required.contains(&name.as_str()), "schema": schema })
        })
        .collect();
    json!({
        "name": spec.name,
        "summary": spec.summary(),
        "paramStructure": "by-name",
        "params": params,
        "result": { "name": "result", "schema": row["result"] },
        "x-scope": row["scope"],
        "x-kind": row["kind"],
        "x-order": row["order"],
        "x-reply": row["reply"],
    })
}

/// What a reference means.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|path| path.rsplit('/').next())
        .and_then(|name| document["$defs"].get(name))
        .unwrap_or(schema)
}

fn properties_of(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

fn required_of(schema: &Value) -> Vec<&str> {
    let names = schema.get("required").and_then(Value::as_array);
    names
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// The two sides of the protocol: a type with defaults may leave out more when it is said than when it is heard.
struct Sides {
    said: SchemaGenerator,
    heard: SchemaGenerator,
}

impl Sides {
    fn new() -> Self {
        Self {
            said: SchemaSettings::draft2020_12()
                .for_deserialize()
                .into_generator(),
            heard: SchemaSettings::draft2020_12()
                .for_serialize()
                .into_generator(),
        }
    }

    fn heard<T: schemars::JsonSchema>(&mut self) -> Value {
        self.heard.subschema_for::<T>().to_value()
    }

    fn definitions(&mut self, said: &mut [&mut Value]) -> Map<String, Value> {
        let mut definitions = [&mut self.said, &mut self.heard].map(|it| it.take_definitions(true));
        for schema in definitions.iter_mut().flat_map(Map::values_mut) {
            plain::make_plain(schema);
        }
        let [spoken, heard] = definitions;
        plain::merge(spoken, heard, said)
    }
}

/// The whole protocol as one JSON document: the source of every generated file. As a JSON Schema it accepts one frame.
#[must_use]
pub fn schema() -> Value {
    let mut sides = Sides::new();
    let mut params = Vec::new();
    let mut methods = Map::new();
    for spec in specs() {
        params.push((spec.params)(&mut sides.said).to_value());
        let mut result = (spec.result)(&mut sides.heard).to_value();
        plain::make_plain(&mut result);
        let entry = json!({
            "summary": spec.summary(),
            "params": null,
            "result": result,
            "scope": spec.access.word(),
            "kind": kind_word(spec.kind),
            "order": order_word(spec.order),
            "reply": reply_word(spec.reply),
        });
        methods.insert(spec.name.to_owned(), entry);
    }
    let events: Map<String, Value> = event_specs()
        .map(|spec| {
            let entry = json!({
                "summary": spec.summary(),
                "payload": (spec.payload)(&mut sides.heard).to_value(),
                "to": spec.audience.word(),
                "loss": spec.loss.word(),
            });
            (spec.name.to_owned(), entry)
        })
        .collect();
    let notifications = json!({
        "event": sides.heard::<WireEvent>(),
        "delta": sides.heard::<WireDelta>(),
        "shutdown": sides.heard::<ShutdownEvent>(),
    });
    let frame = sides.heard::<Frame>();
    let challenge = sides.heard::<Challenge>();
    let hello = sides.heard::<HelloOk>();
    let mut connect = sides.said.subschema_for::<ConnectParams>().to_value();
    let mut said: Vec<&mut Value> = params.iter_mut().collect();
    said.push(&mut connect);
    let definitions = sides.definitions(&mut said);
    for (entry, params) in methods.values_mut().zip(params) {
        entry["params"] = params;
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "adjutant",
        "$ref": frame["$ref"],
        "protocols": [Protocol::V3.number(), Protocol::V4.number()],
        "frames": frame,
        "connect": { "challenge": challenge, "params": connect, "result": hello },
        "methods": methods,
        "events": events,
        "notifications": notifications,
        "codes": codes(),
        "$defs": definitions,
    })
}

fn codes() -> Map<String, Value> {
    CODES
        .iter()
        .map(|code| {
            let wire = wire(*code);
            let entry = json!({
                "frames": wire.frames, "rpc": wire.rpc, "http": wire.http, "retry": retry_word(wire.retry),
            });
            (wire.word.to_owned(), entry)
        })
        .collect()
}

/// `docs/reference/methods.md`, drawn from the table.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(
        "# Methods\n\nGenerated from the method table; do not edit. The same names work in JSON-RPC (`POST /rpc`, WebSocket \
         `/rpc`) and as frames (WebSocket `/`).\n",
    );
    let document = schema();
    for (_, rows) in NAMESPACES {
        for spec in *rows {
            out.push_str(&method_page(spec, &document));
        }
    }
    out.push_str("\n# Events\n\nWhat frames clients are sent.\n");
    out.push_str("\n| event | payload | to | when a client is slow | |\n|---|---|---|---|---|\n");
    for spec in event_specs() {
        let (to, loss) = (spec.audience.word(), spec.loss.word());
        let payload = type_word(&document["events"][spec.name]["payload"]);
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            out,
            "| `{}` | {payload} | {to} | {loss} | {} |",
            spec.name,
            spec.summary()
        );
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

fn method_page(spec: &MethodSpec, document: &Value) -> String {
    let params = resolved(document, &document["methods"][spec.name]["params"]);
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
    if properties_of(params).next().is_none() {
        page.push_str("\nNo parameters.\n");
        return page;
    }
    page.push_str("\n| parameter | type | |\n|---|---|---|\n");
    let required = required_of(params);
    for (name, schema) in properties_of(params) {
        let optional = if required.contains(&name.as_str()) {
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

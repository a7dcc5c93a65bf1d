//! What is offered to a model, and what a permit covers.

use std::collections::BTreeSet;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::tool::{Effect, Operand};
use adjutant_policy::Card;
use adjutant_ports::ToolError;
use serde_json::{Value, json};

use crate::world::World;

const NAMES: [&str; 14] = [
    "file_read",
    "file_list",
    "file_search",
    "file_write",
    "file_edit",
    "apply_patch",
    "shell_run",
    "code_run",
    "web_fetch",
    "memory_search",
    "memory_write",
    "memory_forget",
    "json_query",
    "ask_user",
];

/// What a provider sends for the tools, give or take names of members.
fn on_the_wire(world: &World) -> String {
    let tools: Vec<Value> = NAMES
        .iter()
        .map(|name| {
            let tool = world.tool(name);
            let spec = tool.spec();
            json!({"type": "function", "function": {
                "name": spec.name, "description": spec.description, "parameters": spec.schema,
            }})
        })
        .collect();
    Value::Array(tools).to_string()
}

#[test]
fn the_schemas_are_small_and_the_same_each_time() {
    let first = on_the_wire(&World::new());
    assert!(first.len() < 5_000, "{} bytes: {first}", first.len());
    assert_eq!(first, on_the_wire(&World::new()));
    for waste in ["$schema", "title", "null", "$defs", "anyOf", "\"format\""] {
        assert!(!first.contains(waste), "{waste} in {first}");
    }
}

#[test]
fn every_schema_is_closed_and_holds_what_policy_looks_at() {
    let world = World::new();
    for name in NAMES {
        let tool = world.tool(name);
        let spec = tool.spec();
        Card::new(spec.clone()).unwrap();
        assert_eq!(spec.schema["type"], "object", "{name}");
        assert_eq!(spec.schema["additionalProperties"], false, "{name}");
        for operand in &spec.operands {
            let arg = match operand {
                Operand::ReadPath { arg }
                | Operand::WritePath { arg }
                | Operand::Patch { arg }
                | Operand::Command { arg }
                | Operand::Code { arg }
                | Operand::Url { arg } => arg,
            };
            assert_eq!(
                spec.schema["properties"][arg]["type"], "string",
                "{name}.{arg}"
            );
        }
    }
}

#[test]
fn effects_and_levels_are_those_of_the_design() {
    let world = World::new();
    let of = |effect: Effect| -> BTreeSet<&str> {
        NAMES
            .into_iter()
            .filter(|name| world.tool(name).spec().effect == effect)
            .collect()
    };
    assert_eq!(
        of(Effect::Once),
        BTreeSet::from(["apply_patch", "code_run", "shell_run"])
    );
    assert_eq!(
        of(Effect::Idempotent),
        BTreeSet::from(["file_edit", "file_write", "memory_forget", "memory_write"])
    );
    let above = |level: TrustLevel| {
        NAMES
            .into_iter()
            .filter(|name| level <= world.tool(name).spec().level)
            .count()
    };
    assert_eq!(
        [
            above(TrustLevel::L2),
            above(TrustLevel::L3),
            above(TrustLevel::L4)
        ],
        [13, 7, 2]
    );
    assert_eq!(
        NAMES
            .into_iter()
            .filter(|name| world.tool(name).spec().asks_owner)
            .count(),
        1
    );
}

// covers: S29
#[tokio::test]
async fn a_permit_for_one_tool_moves_no_other() {
    let mut world = World::new();
    for name in NAMES {
        let other = if name == "file_list" {
            "memory_search"
        } else {
            "file_list"
        };
        let args = if other == "file_list" {
            json!({})
        } else {
            json!({"query": ""})
        };
        let call = world.call(other, args);
        let permit = world.permit(call).unwrap();
        let error = world.tool(name).run(permit, &world.cx()).await.unwrap_err();
        assert!(
            matches!(error, ToolError::NotPermitted { .. }),
            "{name}: {error}"
        );
    }
}

#[tokio::test]
async fn a_question_never_reaches_the_tool() {
    let mut world = World::new();
    let error = world
        .try_run(
            "ask_user",
            json!({"question": "Which?", "options": ["a", "b"]}),
        )
        .await
        .unwrap_err();
    assert!(matches!(error, ToolError::Internal { .. }));
}

#[test]
fn unknown_arguments_are_refused_before_a_permit_exists() {
    let mut world = World::new();
    let call = world.call("file_read", json!({"path": "a", "mode": "b"}));
    assert!(world.permit(call).unwrap_err().contains("mode"));
    let call = world.call("code_run", json!({"language": "cobol", "code": ""}));
    assert!(world.permit(call).is_err());
}

// covers: S36
#[test]
fn no_tool_brings_its_own_way_to_the_network() {
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
    let banned = [
        "reqwest",
        "hyper",
        "hyper-util",
        "ureq",
        "curl",
        "isahc",
        "attohttpc",
        "surf",
        "minreq",
        "tokio",
        "rustls",
        "tokio-tungstenite",
    ];
    let dependencies = manifest["dependencies"].as_table().unwrap();
    for name in banned {
        assert!(
            !dependencies.contains_key(name),
            "{name} must not be used by tools: the network broker is the way"
        );
    }
}

//! Asking other devices.

use std::path::Path;
use std::sync::{Arc, Mutex};

use adjutant_domain::agent::{ApprovalPolicy, TrustLevel};
use adjutant_domain::id::OwnerId;
use adjutant_domain::label::Trust;
use adjutant_domain::tool::ToolOutcome;
use adjutant_policy::{Card, Facts, Verdict, admit_call};
use adjutant_ports::{NodeAsk, NodeInfo, Nodes, NodesError};
use adjutant_tools::Config;
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::world::{NOW, World};

#[derive(Default)]
struct Scripted {
    asked: Mutex<Vec<NodeAsk>>,
    fault: Mutex<Option<NodesError>>,
}

#[async_trait]
impl Nodes for Scripted {
    async fn list(&self, _owner: &OwnerId) -> Result<Vec<NodeInfo>, NodesError> {
        Ok(vec![NodeInfo {
            id: "ab".repeat(32),
            name: Some("studio".to_owned()),
            platform: Some("linux".to_owned()),
            connected: true,
            commands: vec!["system.run".to_owned(), "system.which".to_owned()],
        }])
    }

    async fn ask(&self, ask: NodeAsk) -> Result<Option<String>, NodesError> {
        self.asked.lock().unwrap().push(ask);
        match self.fault.lock().unwrap().take() {
            Some(fault) => Err(fault),
            None => Ok(Some(r#"{"stdout":"hi"}"#.to_owned())),
        }
    }
}

fn world() -> (World, Arc<Scripted>) {
    let nodes = Arc::new(Scripted::default());
    let door = Arc::<Scripted>::clone(&nodes) as Arc<dyn Nodes>;
    let mut world = World::new();
    world.agent.trust_level = TrustLevel::L5;
    world.add(adjutant_tools::nodes(&door, &Config::default()));
    (world, nodes)
}

fn run() -> Value {
    json!({ "node": "studio", "command": "system.run", "params": { "command": ["uname"] } })
}

#[tokio::test]
async fn a_node_is_asked_with_the_calls_id_as_key_and_its_words_are_from_outside() {
    let (mut world, nodes) = world();
    assert!(
        world
            .done("node_list", json!({}))
            .await
            .contains("studio (linux, connected)")
    );
    let call = world.call("node_invoke", run());
    let outcome = world.repeat(call.clone()).await.unwrap();
    let ToolOutcome::Done { text, label } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (text.as_str(), label.trust),
        (r#"{"stdout":"hi"}"#, Trust::Outside)
    );
    let asked = nodes.asked.lock().unwrap();
    assert_eq!(asked[0].key, call.id.to_string());
    assert_eq!(asked[0].params, json!({ "command": ["uname"] }));
}

// covers: D9
#[tokio::test]
async fn looking_is_not_acting_and_acting_asks_every_agent_that_asks() {
    let (mut world, nodes) = world();
    let refused = world.failed("node_look", run()).await;
    assert!(refused.contains("node_invoke"), "{refused}");
    assert!(nodes.asked.lock().unwrap().is_empty());
    let workspace = world.workspace();
    for policy in [
        ApprovalPolicy::AskNewTools,
        ApprovalPolicy::AskDestructive,
        ApprovalPolicy::AskAlways,
    ] {
        world.agent.approval_policy = policy;
        let call = world.call("node_invoke", run());
        let card = Card::new(world.tool("node_invoke").spec().clone()).unwrap();
        let facts = Facts {
            agent: &world.agent,
            session: world.cx().session,
            card: Some(&card),
            now: NOW,
            workspace: &workspace,
            allowed_dirs: &[],
            state_dir: Path::new("/nonexistent"),
            home: Path::new("/nonexistent"),
            grants: &[],
            approved_digest: None,
            lowest_trust: Trust::Owner,
            by_owner: false,
        };
        assert!(
            matches!(admit_call(call, &facts).verdict, Verdict::Ask(_)),
            "{policy:?}"
        );
    }
}

// covers: R4
#[tokio::test]
async fn an_answer_that_did_not_come_is_unknown_for_what_acts_and_a_failure_for_what_looks() {
    let (mut world, nodes) = world();
    let late = || {
        Some(NodesError {
            message: "node invoke timed out".to_owned(),
            in_doubt: true,
        })
    };
    *nodes.fault.lock().unwrap() = late();
    let outcome = world.run("node_invoke", run()).await;
    assert!(
        matches!(outcome, ToolOutcome::Unknown { .. }),
        "{outcome:?}"
    );
    *nodes.fault.lock().unwrap() = late();
    let look = json!({ "node": "studio", "command": "device.info" });
    assert!(world.failed("node_look", look).await.contains("timed out"));
}

//! Recorded conversations of real clients, played against this gateway: a test for each, comparing shapes and rules.
//!
//! `tests/transcripts/` holds what released clients and gateways said to each other. The client's side is sent again
//! with our token, our device keys and our identifiers in place of the recorded ones. Every answer must have what a
//! client reads of it, with the recorded types (`rules.rs`); what this gateway refuses on purpose is listed with its
//! reason (`known.rs`); events must come in the recorded kinds and in order.

mod conformance;
mod counterpart;
mod device;
mod driver;
mod known;
mod rules;
mod transcript;
mod worker;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::world::World;
use driver::Replay;

async fn replay(name: &str) {
    let world = Arc::new(World::new().await);
    driver::seed(&world).await;
    let mut replay = Replay::new(&world, name);
    replay.play().await;
    assert!(
        replay.problems.is_empty(),
        "{name}:\n{}",
        replay.problems.join("\n")
    );
}

macro_rules! transcripts {
    ($( $(#[$meta:meta])* $test:ident = $name:literal; )*) => {
        $(
            $(#[$meta])*
            #[tokio::test]
            async fn $test() {
                replay($name).await;
            }
        )*

        const TESTED: &[&str] = &[ $( $name, )* ];
    };
}

transcripts! {
    january_agent = "2026.1.24-3--agent";
    january_call_health = "2026.1.24-3--call-health";
    january_call_unknown_method = "2026.1.24-3--call-unknown-method";
    january_control_ui = "2026.1.24-3--control-ui";
    january_devices_list = "2026.1.24-3--devices-list";
    january_node_invoke_refused = "2026.1.24-3--node-invoke-refused";
    january_node_invoke_which = "2026.1.24-3--node-invoke-which";
    january_node_run_device_token = "2026.1.24-3--node-run-device-token";
    january_node_run_first = "2026.1.24-3--node-run-first";
    january_nodes_status = "2026.1.24-3--nodes-status";
    january_rpc_batch = "2026.1.24-3--rpc-batch";
    january_status = "2026.1.24-3--status";
    january_tui = "2026.1.24-3--tui";
    february_early_health = "2026.2.19--health";
    february_agent = "2026.2.26--agent";
    february_call_health = "2026.2.26--call-health";
    february_call_unknown_method = "2026.2.26--call-unknown-method";
    february_call_wrong_token = "2026.2.26--call-wrong-token";
    february_control_ui = "2026.2.26--control-ui";
    february_cron_list = "2026.2.26--cron-list";
    february_devices_approve = "2026.2.26--devices-approve";
    february_devices_list_pending = "2026.2.26--devices-list-pending";
    february_exec_approval_resolve = "2026.2.26--exec-approval-resolve";
    february_node_describe = "2026.2.26--node-describe";
    february_node_invoke_refused = "2026.2.26--node-invoke-refused";
    february_node_invoke_which = "2026.2.26--node-invoke-which";
    february_node_run_device_token = "2026.2.26--node-run-device-token";
    february_node_run_first = "2026.2.26--node-run-first";
    february_nodes_run_approval = "2026.2.26--nodes-run-approval";
    february_nodes_status = "2026.2.26--nodes-status";
    february_pairing_remote_node_accepted = "2026.2.26--pairing-remote-node-accepted";
    february_pairing_remote_node_refused = "2026.2.26--pairing-remote-node-refused";
    february_rpc_batch = "2026.2.26--rpc-batch";
    february_status = "2026.2.26--status";
    february_tui = "2026.2.26--tui";
    february_tui_tool = "2026.2.26--tui-tool";
    may_call_unknown_method = "2026.5.7--call-unknown-method";
    may_call_wrong_token = "2026.5.7--call-wrong-token";
    september_agent = "2026.9.6--agent";
    september_call_health = "2026.9.6--call-health";
    september_call_unknown_method = "2026.9.6--call-unknown-method";
    september_call_wrong_token = "2026.9.6--call-wrong-token";
    september_control_ui = "2026.9.6--control-ui";
    september_cron_list = "2026.9.6--cron-list";
    september_devices_approve = "2026.9.6--devices-approve";
    september_devices_list_pending = "2026.9.6--devices-list-pending";
    september_node_describe = "2026.9.6--node-describe";
    september_node_invoke_refused = "2026.9.6--node-invoke-refused";
    september_node_invoke_which = "2026.9.6--node-invoke-which";
    september_node_run_device_token = "2026.9.6--node-run-device-token";
    september_node_run_first = "2026.9.6--node-run-first";
    september_nodes_approve = "2026.9.6--nodes-approve";
    september_nodes_pending = "2026.9.6--nodes-pending";
    september_nodes_status = "2026.9.6--nodes-status";
    september_pairing_remote_node_refused = "2026.9.6--pairing-remote-node-refused";
    september_rpc_batch = "2026.9.6--rpc-batch";
    september_status = "2026.9.6--status";
    september_tui = "2026.9.6--tui";
    september_tui_tool = "2026.9.6--tui-tool";
}

#[test]
fn every_transcript_has_a_test() {
    let recorded: BTreeSet<String> = transcript::names().into_iter().collect();
    let tested: BTreeSet<String> = TESTED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(recorded, tested);
}

#[test]
fn what_is_refused_on_purpose_was_recorded_and_is_not_served() {
    let mut called = BTreeSet::new();
    for name in transcript::names() {
        for line in transcript::read(&name) {
            if line.is_request() {
                called.insert(line.text("/method").to_owned());
            }
        }
    }
    for (method, _) in known::NOT_HERE {
        assert!(called.contains(*method), "nobody called {method}");
        assert!(
            adjutant_protocol::find(method).is_none(),
            "{method} is here"
        );
    }
    for (method, ..) in known::REFUSED {
        assert!(called.contains(*method), "nobody called {method}");
        assert!(adjutant_protocol::find(method).is_some(), "{method}");
    }
}

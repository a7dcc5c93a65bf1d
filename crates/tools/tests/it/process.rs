//! Commands and programs.

use std::sync::Arc;
use std::time::Duration;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::label::Origin;
use adjutant_domain::tool::ToolOutcome;
use adjutant_ports::ToolError;
use adjutant_ports::sandbox::{Ending, SandboxError, WorkspaceAccess};
use adjutant_tools::Config;
use serde_json::json;

use crate::world::{World, ended};

#[tokio::test]
async fn a_command_reaches_the_walls_as_it_was_judged() {
    let mut world = World::new();
    world.agent.allowed_dirs = vec![
        world.dir.path().join("state").display().to_string(),
        "/nonexistent/folder".to_owned(),
        world.dir.path().display().to_string(),
    ];
    world
        .done(
            "shell_run",
            json!({"command": "touch x", "timeout_ms": 5000}),
        )
        .await;
    let seen = world.sandbox.seen.lock().unwrap();
    let (command, profile) = &seen[0];
    assert_eq!(command.argv[1..], ["-c", "touch x"]);
    assert_eq!(command.cwd, world.workspace());
    // covers: S33
    assert!(command.env.is_empty() && command.stdin.is_empty());
    assert_eq!(profile.workspace, world.workspace());
    assert_eq!(profile.access, WorkspaceAccess::ReadWrite);
    assert_eq!(profile.hidden, [world.dir.path().join("state")]);
    assert_eq!(profile.read_only, [world.dir.path()]);
    assert_eq!(profile.limits.wall, Duration::from_secs(5));
}

#[tokio::test]
async fn a_command_that_only_reads_gets_a_workspace_it_cannot_change() {
    let mut world = World::new();
    world
        .done("shell_run", json!({"command": "wc -l a.md"}))
        .await;
    let seen = world.sandbox.seen.lock().unwrap();
    assert_eq!(seen[0].1.access, WorkspaceAccess::ReadOnly);
    assert_eq!(
        seen[0].1.limits.wall,
        Duration::from_secs(60),
        "the deadline of the call is shorter than the default"
    );
}

#[tokio::test]
async fn time_is_bounded_by_the_settings() {
    let config: Config =
        serde_json::from_value(json!({"shell": {"timeout": "2s", "timeout_max": "10s"}})).unwrap();
    let mut world = World::with(&config);
    world.done("shell_run", json!({"command": "ls"})).await;
    world
        .done("shell_run", json!({"command": "ls", "timeout_ms": 600_000}))
        .await;
    world
        .done("shell_run", json!({"command": "ls", "timeout_ms": 0}))
        .await;
    let seen = world.sandbox.seen.lock().unwrap();
    let walls: Vec<_> = seen
        .iter()
        .map(|(_, profile)| profile.limits.wall.as_millis())
        .collect();
    assert_eq!(walls, [2_000, 10_000, 100]);
}

#[tokio::test]
async fn what_a_command_printed_is_told_with_its_exit_code() {
    let mut world = World::new();
    world.sandbox.script.lock().unwrap().push_back(Ok(ended(
        Ending::Exited { code: 3 },
        "out",
        "err\n",
    )));
    let outcome = world.run("shell_run", json!({"command": "ls"})).await;
    let ToolOutcome::Done { text, label } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(text, "out\n[stderr]\nerr\n[exit code 3]");
    assert_eq!(label.origin, Origin::Command);
}

// covers: R32
#[tokio::test]
async fn a_command_that_was_killed_is_an_honest_error() {
    let mut world = World::new();
    for (ending, wanted) in [
        (Ending::TimedOut, "time limit after 1.5 s"),
        (Ending::OutputFlood, "because it printed"),
        (Ending::Signalled { signal: 11 }, "signal 11"),
        (Ending::Stopped, "cancelled"),
    ] {
        world
            .sandbox
            .script
            .lock()
            .unwrap()
            .push_back(Ok(ended(ending, "so far", "")));
        let said = world.failed("shell_run", json!({"command": "ls"})).await;
        assert!(
            said.starts_with("so far\n[error: ") && said.contains(wanted),
            "{said}"
        );
    }
}

#[tokio::test]
async fn long_output_keeps_both_ends_and_states_its_size() {
    let mut world = World::new();
    let mut outcome = ended(
        Ending::Exited { code: 0 },
        &format!("first{}last", "x".repeat(100_000)),
        &"e".repeat(50_000),
    );
    outcome.stdout_total = 5_000_000;
    world.sandbox.script.lock().unwrap().push_back(Ok(outcome));
    let text = world.done("shell_run", json!({"command": "ls"})).await;
    assert!(text.len() <= (16 << 10) + 64, "{}", text.len());
    assert!(
        text.starts_with("first") && text.contains("last\n") && text.ends_with("[exit code 0]")
    );
    assert!(
        text.contains("of 5000000 bytes") && text.contains("of 50000 bytes"),
        "{text}"
    );
}

// covers: S34
#[tokio::test]
async fn without_walls_nothing_is_run() {
    let mut world = World::new();
    for (name, args) in [
        ("shell_run", json!({"command": "ls"})),
        ("code_run", json!({"language": "bash", "code": "ls"})),
    ] {
        let missing = SandboxError::Unavailable {
            reason: "bubblewrap is missing".to_owned(),
        };
        world.sandbox.script.lock().unwrap().push_back(Err(missing));
        let error = world.try_run(name, args).await.unwrap_err();
        assert!(
            matches!(&error, ToolError::Unavailable { .. })
                && error.to_string().contains("bubblewrap"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn commands_need_level_four() {
    let mut world = World::new();
    world.agent.trust_level = TrustLevel::L3;
    for (name, args) in [
        ("shell_run", json!({"command": "ls"})),
        ("code_run", json!({"language": "bash", "code": "ls"})),
    ] {
        let call = world.call(name, args);
        assert!(world.permit(call).unwrap_err().contains("L4"));
    }
}

#[tokio::test]
async fn a_missing_interpreter_is_named() {
    let mut world = World::new();
    let missing = ended(
        Ending::Exited { code: 127 },
        "",
        "ruby: no such interpreter\n",
    );
    world.sandbox.script.lock().unwrap().push_back(Ok(missing));
    let said = world
        .failed("code_run", json!({"language": "ruby", "code": "puts 1"}))
        .await;
    assert!(said.contains("`ruby` is not installed"), "{said}");
    let own = ended(
        Ending::Exited { code: 127 },
        "",
        "bash: nope: command not found\n",
    );
    world.sandbox.script.lock().unwrap().push_back(Ok(own));
    let text = world
        .done("code_run", json!({"language": "bash", "code": "nope"}))
        .await;
    assert!(text.ends_with("[exit code 127]"), "{text}");
    let long = json!({"language": "bash", "code": "x".repeat(200_000)});
    assert!(
        world
            .failed("code_run", long)
            .await
            .contains("write it to a file")
    );
}

/// The real walls, where this machine has them.
async fn real() -> Option<World> {
    let sandbox = adjutant_sandbox::best(&adjutant_sandbox::Config::default());
    let report = sandbox.report().await;
    if !report.available {
        eprintln!("skipped: no sandbox on this machine: {:?}", report.missing);
        return None;
    }
    Some(World::behind(Arc::clone(&sandbox), &Config::default()))
}

// covers: S35, S38
#[tokio::test]
async fn real_commands_run_behind_real_walls() {
    let Some(mut world) = real().await else {
        return;
    };
    std::fs::write(world.dir.path().join("state/secret"), "s3cret").unwrap();
    world.put("a.md", "1\n2\n");
    assert_eq!(
        world
            .done("shell_run", json!({"command": "wc -l a.md"}))
            .await,
        "2 a.md\n[exit code 0]"
    );
    world
        .done("shell_run", json!({"command": "echo hi > made.txt"}))
        .await;
    assert_eq!(world.get("made.txt"), "hi\n");
    let secret = world.dir.path().join("state/secret");
    let peek = json!({"language": "bash", "code": format!("cat {}; true", secret.display())});
    assert!(!world.done("code_run", peek).await.contains("s3cret"));
    let late = world
        .failed(
            "shell_run",
            json!({"command": "sleep 60", "timeout_ms": 300}),
        )
        .await;
    assert!(late.contains("time limit"), "{late}");
}

#[tokio::test]
async fn real_programs_run_or_their_interpreter_is_named() {
    let Some(mut world) = real().await else {
        return;
    };
    for (language, code) in [
        ("python", "import sys\nprint(6 * 7)"),
        ("node", "console.log(6 * 7)"),
        ("bash", "cat\necho $((6 * 7))"),
        ("ruby", "puts 6 * 7"),
        ("perl", "print 6 * 7, \"\\n\""),
    ] {
        let outcome = world
            .run("code_run", json!({"language": language, "code": code}))
            .await;
        let ok =
            outcome.text() == "42\n[exit code 0]" || outcome.text().contains("is not installed");
        assert!(ok, "{language}: {outcome:?}");
    }
}

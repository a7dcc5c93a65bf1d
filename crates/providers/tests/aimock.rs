//! The wire formats against a mock server that nobody here wrote: `@copilotkit/aimock`, from the lock file beside its
//! fixtures. Skipped, with a line on stderr, where Node is missing.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use adjutant_domain::run::{ModelFault, StopReason};
use adjutant_ports::provider::{ModelEvent, Models};

use support::{answered, ask, end_of, registry, run};

/// Says on stderr, past the capture of the test runner, why nothing was tested.
fn skip(why: &str) {
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "SKIPPED aimock: {why}").unwrap();
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aimock")
}

/// The server's program, installed from the lock file if it is not there.
fn program() -> Option<PathBuf> {
    let runs = |name: &str| {
        std::process::Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !runs("node") {
        skip("`node` is not on the path; install Node 20 or newer");
        return None;
    }
    let program = folder().join("node_modules/@copilotkit/aimock/dist/cli.js");
    if !program.exists() {
        let installed = std::process::Command::new("npm")
            .args([
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ])
            .current_dir(folder())
            .status();
        if !installed.is_ok_and(|status| status.success()) || !program.exists() {
            skip("`npm ci` in tests/aimock did not work");
            return None;
        }
    }
    Some(program)
}

/// Starts the server on a free port and waits until it says where it listens. It ends with the returned child.
async fn start(program: &Path) -> (Child, String) {
    let mut child = Command::new("node")
        .arg(program)
        .args([
            "--port",
            "0",
            "--strict",
            "--chunk-size",
            "9",
            "--log-level",
            "info",
        ])
        .arg("--fixtures")
        .arg(folder().join("fixtures.json"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .expect("aimock ended before it listened");
            if let Some((_, url)) = line.split_once("listening on ") {
                break url.trim().to_owned();
            }
        }
    })
    .await
    .unwrap();
    // Keeps the pipe empty, so that the server never waits for us.
    tokio::spawn(async move { while let Ok(Some(_line)) = lines.next_line().await {} });
    (child, url)
}

#[tokio::test]
async fn a_server_nobody_here_wrote_is_understood_in_every_format() {
    let Some(program) = program() else { return };
    let (mut server, url) = start(&program).await;
    for (provider, base, model) in [
        ("openai", format!("{url}/v1"), "gpt-4o-mini"),
        ("openai", url.clone(), "gpt-4o-mini"),
        ("openai-responses", format!("{url}/v1"), "gpt-4o-mini"),
        ("anthropic", url.clone(), "claude-sonnet-4-5"),
        ("anthropic", format!("{url}/v1"), "claude-sonnet-4-5"),
        ("gemini", url.clone(), "gemini-2.5-flash"),
        ("gemini", format!("{url}/v1beta"), "gemini-2.5-flash"),
        ("groq", format!("{url}/v1"), "llama-3.3-70b-versatile"),
        ("openrouter", format!("{url}/v1"), "openai/gpt-4o-mini"),
        ("ollama", url.clone(), "llama3.2"),
    ] {
        let models = registry(provider, &base, "");
        let route = format!("{provider}/{model}");

        let (events, fault) = run(&models, &route, ask(model, "say hello")).await;
        assert_eq!(fault, None, "{route}");
        let words = events
            .iter()
            .filter(|event| matches!(event, ModelEvent::Text(_)))
            .count();
        assert!(2 < words, "{route} streamed {words} pieces");
        let end = end_of(&events);
        assert_eq!(
            end.text,
            "Hello from a server that nobody here wrote, in several pieces."
        );
        assert_eq!(end.stop, StopReason::End, "{route}");
        assert!(
            0 < end.usage.input && 0 < end.usage.output,
            "{route}: {:?}",
            end.usage
        );
        let price = models
            .route(&route)
            .unwrap()
            .price
            .expect("the catalogue knows these models");
        assert_eq!(
            0 < price.cost(&end.usage).0,
            provider != "ollama",
            "{route}"
        );

        let mut question = ask(model, "read the list");
        let (events, fault) = run(&models, &route, question.clone()).await;
        assert_eq!(fault, None, "{route}");
        let end = end_of(&events);
        assert_eq!(
            (end.stop.clone(), end.calls.len()),
            (StopReason::ToolUse, 1),
            "{route}"
        );
        assert_eq!(end.calls[0].name, "file_read");
        assert_eq!(
            end.calls[0].args,
            serde_json::json!({"path": "todo.md"}),
            "{route}"
        );

        question.messages.extend(answered(end));
        let (events, fault) = run(&models, &route, question).await;
        assert_eq!(fault, None, "{route}");
        assert_eq!(end_of(&events).text, "The list says: buy milk.", "{route}");

        let (_, fault) = run(&models, &route, ask(model, "be busy")).await;
        assert!(
            matches!(fault, Some(ModelFault::RateLimited { .. })),
            "{route}: {fault:?}"
        );
    }
    server.kill().await.unwrap();
}

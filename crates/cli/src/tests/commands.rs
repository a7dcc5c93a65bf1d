//! Exit codes, documents, refusals.

use serde_json::{Value, json};

use super::gateway::FakeGateway;
use super::host::FakeHost;
use super::screen::{piped, typed, unread};
use crate::failure::Exit;
use crate::host::{Check, Progress, Report, Severity};

const SESSION: &str = "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const THREAD: &str = "thr_01ARZ3NDEKTSV4RRFFQ69G5FAV";

fn thread() -> Value {
    json!({ "id": THREAD, "owner": "owner", "agent": "main", "title": "Notes", "createdAt": 0, "updatedAt": 0,
            "messages": 3 })
}

fn session() -> Value {
    json!({ "key": "agent:main:main", "kind": "direct", "chatType": "direct", "verboseLevel": "on", "sessionId": SESSION, "threadId": THREAD, "updatedAt": 0,
            "createdAt": 0, "agentId": "main", "displayName": "main" })
}

fn agent() -> Value {
    json!({ "agent": { "name": "main", "displayName": "Main", "description": "answers", "trustLevel": 3,
                       "systemPrompt": "Be brief.", "workspace": "/work" },
            "revision": 4, "updatedAt": 0 })
}

fn entry() -> Value {
    json!({ "ok": true, "key": "agent:main:main", "sessionId": SESSION, "path": "store", "entry": session() })
}

fn gateway() -> FakeGateway {
    let agents = json!({ "defaultId": "main", "mainKey": "main", "scope": "per-sender",
        "agents": [{ "id": "main", "description": "answers", "model": { "primary": "offline/rules" }, "trustLevel": 3 }] });
    let model = json!({ "id": "rules", "name": "Rules", "provider": "offline", "available": true,
                        "price": { "input": 150_000, "output": 600_000, "cacheRead": 0, "cacheWrite": 0 } });
    let spent = json!({ "usedMicros": 12_345, "reservedMicros": 0, "calls": 2, "unpriced": 0,
                        "usage": { "input": 10, "output": 5 } });
    let mut window = spent.clone();
    window["scope"] = json!("day");
    window["key"] = json!("2026-01-31");
    window["level"] = json!("ok");
    window["limitMicros"] = json!(1_000_000);
    window["percent"] = json!(1.2);
    let limits = json!({ "agentId": "main", "own": {}, "inForce": { "dayMicros": 2_500_000 } });
    let tool = json!({ "name": "file_read", "description": "Read a file.", "schema": { "type": "object" },
                       "effect": "reads", "level": 2, "class": "read", "operands": [] });
    FakeGateway::answering(&[
        ("agents.list", agents),
        ("agents.get", agent()),
        ("agents.create", agent()),
        ("agents.update", agent()),
        ("agents.delete", json!({ "deleted": true })),
        ("agents.trust", agent()),
        (
            "threads.list",
            json!({ "threads": [thread()], "nextOffset": null }),
        ),
        (
            "threads.show",
            json!({ "thread": thread(), "messages": [], "hasMore": false }),
        ),
        ("threads.search", json!({ "hits": [] })),
        (
            "threads.export",
            json!({ "threadId": THREAD, "format": "markdown", "text": "# Notes\n", "messages": 3 }),
        ),
        ("threads.delete", json!({ "deleted": true })),
        (
            "sessions.list",
            json!({ "ts": 0, "path": "store", "count": 1, "limitApplied": 100, "totalCount": 1, "hasMore": false,
            "nextOffset": null, "sessions": [session()],
            "defaults": { "modelProvider": "offline", "model": "rules", "contextTokens": null } }),
        ),
        ("sessions.describe", json!({ "session": session() })),
        ("sessions.reset", entry()),
        (
            "sessions.delete",
            json!({ "ok": true, "key": "agent:main:main", "deleted": true, "archived": [] }),
        ),
        ("tools.list", json!({ "tools": [tool] })),
        ("tools.show", json!({ "tool": tool })),
        ("approvals.list", json!({ "approvals": [] })),
        ("approvals.history", json!({ "approvals": [] })),
        ("approvals.rules.list", json!({ "rules": [] })),
        ("memory.list", json!({ "memories": [] })),
        ("memory.search", json!({ "memories": [] })),
        ("memory.forget", json!({ "forgotten": 0 })),
        (
            "budget.status",
            json!({ "overall": "ok", "scopes": [window], "calls": 2, "unpriced": 0, "tokens": {} }),
        ),
        (
            "budget.usage",
            json!({ "from": "a", "to": "b", "groupBy": "day", "rows": [], "total": spent }),
        ),
        ("budget.limits.set", limits.clone()),
        ("budget.limits.get", limits),
        ("models.list", json!({ "models": [model] })),
        (
            "models.status",
            json!({ "default": "offline/rules", "fallbacks": [], "providers": [
            { "name": "offline", "configured": true, "baseUrl": "", "restingMs": 0 }] }),
        ),
        (
            "workers.list",
            json!({ "workers": [], "queued": 0, "running": 1, "parked": 2 }),
        ),
        (
            "verify.run",
            json!({ "ok": true, "checked": [{ "name": "logs", "count": 5 }], "findings": [] }),
        ),
    ])
}

async fn host() -> FakeHost {
    FakeHost::beside(gateway().open().await)
}

#[tokio::test]
async fn every_answer_with_json_is_one_document() {
    let host = host().await;
    for line in [
        "agent list",
        "agent show main",
        "agent trust main",
        "agent trust main 2",
        "agent edit main --set model=x",
        "agent delete main --yes",
        "agent delete main --dry-run",
        "thread list",
        "thread search words",
        &format!("thread show {THREAD}"),
        &format!("thread export {THREAD}"),
        &format!("thread delete {THREAD} --yes"),
        "sessions list",
        "sessions show agent:main:main",
        "sessions reset agent:main:main --yes",
        "sessions delete agent:main:main --yes",
        "tool list",
        "tool show file_read",
        "approvals list",
        "approvals history",
        "approvals rules list",
        "approvals rules test -- 'rm -rf build'",
        "memory list",
        "memory search coffee",
        "budget status",
        "budget usage --by model",
        "budget set --day 2.50",
        "budget prices list",
        "models list",
        "models status",
        "worker status",
        "verify",
        "doctor",
        "sandbox verify",
        "sandbox verify --driver native",
        "version",
        "config get",
        "config get gateway.port",
        "config set gateway.port 1",
        "config unset gateway.port --yes",
        "config explain gateway.port",
        "config schema",
        "config path",
        "config validate",
        "gateway start",
        "gateway stop",
        "gateway status",
        "gateway restart",
        "gateway install",
        "gateway uninstall --yes",
        "setup --non-interactive --provider offline",
        "demo --yes",
    ] {
        // `--json` in front, so that it does not follow `--`.
        let outcome = piped(&host, &format!("--json {line}")).await;
        assert_eq!(outcome.exit, Exit::Done, "`{line}`: {outcome:?}");
        outcome.document();
    }
}

#[tokio::test]
async fn every_answer_for_people_is_on_stdout_and_nothing_else_is() {
    let host = host().await;
    for line in [
        "agent list",
        "tool list",
        "budget status",
        "budget prices list",
        "models list",
        "config explain gateway.port",
    ] {
        let outcome = piped(&host, line).await;
        assert!(
            !outcome.out.is_empty() && outcome.err.is_empty(),
            "`{line}`: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn tables_read_well() {
    let host = host().await;
    let mut page = String::new();
    for line in [
        "agent list",
        "agent show main",
        "tool list",
        "budget status",
        "budget set --day 2.50",
        "models list",
        "worker status",
        "version",
    ] {
        let text = piped(&host, line).await.out;
        // How long ago the epoch was changes by itself; what is far away is a date and does not.
        page.push_str(&format!("$ adjutant {line}\n{text}\n"));
    }
    insta::assert_snapshot!(page);
}

#[tokio::test]
async fn failures_are_one_document_with_json_and_two_lines_without() {
    let host = host().await;
    let outcome = piped(&host, "--json config get gateway.prot").await;
    assert_eq!(outcome.exit, Exit::NotFound);
    let expected = json!({ "error": { "code": "NOT_FOUND", "message": "no such setting: `gateway.prot`",
                                      "hint": "did you mean `gateway.port`?" } });
    assert_eq!(outcome.document(), expected);
    let outcome = piped(&host, "config get gateway.prot").await;
    assert_eq!(
        outcome.err,
        "error: no such setting: `gateway.prot`\nhint: did you mean `gateway.port`?\n"
    );
    assert_eq!(outcome.out, "");
}

#[tokio::test]
async fn usage_errors_name_the_nearest_and_are_exit_2() {
    let host = FakeHost::new();
    let mut page = String::new();
    for line in [
        "chta",
        "agent lst",
        "agent list --jsn",
        "run",
        "agent trust main 9",
        "run x --timeout 5",
        "budget set --day much",
        "approvals allow x --session --always",
        "setup --non-interactive",
        "demo",
        "chat",
        "budget set",
        "--gateway http://192.0.2.1 status",
        "--tls-fingerprint ab status",
        "--gateway wss://192.0.2.1 --tls-fingerprint ab status",
        "--gateway http://127.0.0.1:1 --tls-fingerprint abababababababababababababababababababababababababababababababab status",
    ] {
        let outcome = piped(&host, line).await;
        assert_eq!(outcome.exit, Exit::Usage, "`{line}`: {outcome:?}");
        assert_eq!(outcome.out, "", "{line}");
        page.push_str(&format!("$ adjutant {line}\n{}\n", outcome.err));
    }
    insta::assert_snapshot!(page);
    let outcome = piped(&host, "--json chta").await;
    assert_eq!(outcome.document()["error"]["code"], "USAGE");
}

#[tokio::test]
async fn exit_codes_are_the_documented_ones() {
    let host = host().await;
    for (line, exit) in [
        ("approvals show appr_x", Exit::NotFound),
        ("agent create --file /nowhere/a.yaml", Exit::NotFound),
        ("config validate bad.toml", Exit::Config),
        (
            "memory forget mem_01ARZ3NDEKTSV4RRFFQ69G5FAV --yes",
            Exit::NotFound,
        ),
        ("thread show nonsense", Exit::Usage),
        ("--token-file /nowhere/token agent list", Exit::NotFound),
    ] {
        let outcome = piped(&host, line).await;
        assert_eq!(outcome.exit, exit, "`{line}`: {outcome:?}");
    }
    let nobody = FakeHost::new();
    for line in ["status", "worker status", "gateway status"] {
        assert_eq!(piped(&nobody, line).await.exit, Exit::Unreachable, "{line}");
    }
    assert_eq!(piped(&nobody, "agent list").await.exit, Exit::Conflict);
}

#[tokio::test]
async fn without_a_gateway_one_is_started_for_the_occasion() {
    let host = FakeHost {
        ephemeral: Some(gateway().open().await),
        ..FakeHost::new()
    };
    assert_eq!(piped(&host, "agent list").await.exit, Exit::Done);
    assert_eq!(host.asked(), ["ephemeral None None"]);
}

#[tokio::test]
async fn nothing_is_removed_unasked() {
    let fake = gateway();
    let host = FakeHost::beside(fake.open().await);
    let outcome = piped(&host, "agent delete main").await;
    assert_eq!(outcome.exit, Exit::Usage);
    assert!(outcome.err.contains("`--yes`"), "{}", outcome.err);
    let outcome = piped(&host, "agent delete main --dry-run").await;
    assert_eq!(
        outcome.out,
        "would remove the agent `main`; its threads stay\n"
    );
    let outcome = typed(&host, "agent delete main", &["mian"]).await;
    assert_eq!(outcome.exit, Exit::Usage);
    assert!(fake.calls("agents.delete").is_empty());
    let outcome = typed(&host, "agent delete main", &["main"]).await;
    assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
    assert_eq!(fake.calls("agents.delete").len(), 1);
}

#[tokio::test]
async fn an_edit_keeps_what_it_does_not_name_and_says_which_revision_it_saw() {
    let fake = gateway();
    let host = FakeHost::beside(fake.open().await);
    let outcome = piped(
        &host,
        "agent edit main --set model=gpt-5-mini --set trust_level=4",
    )
    .await;
    assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
    let update = &fake.calls("agents.update")[0];
    assert_eq!(update["revision"], 4);
    assert_eq!(update["agent"]["model"], "gpt-5-mini");
    assert_eq!(update["agent"]["systemPrompt"], "Be brief.");
    assert_eq!(update["agent"]["trustLevel"], 3);
    assert_eq!(fake.calls("agents.trust")[0]["level"], 4);
}

#[tokio::test]
async fn an_agent_is_made_from_a_file() {
    let fake = gateway();
    let host = FakeHost::beside(fake.open().await);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    std::fs::write(
        &path,
        "name: researcher\ntrust_level: 2\nbudget: {day: 1}\n",
    )
    .unwrap();
    let outcome = piped(&host, &format!("agent create --file {}", path.display())).await;
    assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
    let agent = &fake.calls("agents.create")[0]["agent"];
    assert_eq!(
        (&agent["name"], &agent["trustLevel"]),
        (&json!("researcher"), &json!(2))
    );
    assert_eq!(agent["budget"]["dayMicros"], 1_000_000);
    std::fs::write(&path, "name: researcher\ntrust: 2\n").unwrap();
    let outcome = piped(&host, &format!("agent create --file {}", path.display())).await;
    assert_eq!(outcome.exit, Exit::Config);
    assert!(
        outcome.err.contains("did you mean `trust_level`?"),
        "{}",
        outcome.err
    );
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_error() {
    let host = host().await;
    let outcome = unread(&host, "agent list").await;
    assert_eq!((outcome.exit, outcome.err.as_str()), (Exit::Done, ""));
    let outcome = unread(&host, "logs").await;
    assert_eq!((outcome.exit, outcome.err.as_str()), (Exit::Done, ""));
    assert_eq!(host.asked(), ["log ended after 0"]);
}

#[tokio::test]
async fn setup_asks_on_a_terminal_and_offers_what_is_ready() {
    let host = FakeHost::new();
    let outcome = typed(&host, "setup", &["", "", "9", "2"]).await;
    assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
    let route =
        r#"RouteChoice { provider: Some("openai"), model: Some("gpt-5-mini"), base_url: None }"#;
    assert_eq!(host.asked(), [format!("setup {route} Some(2)")]);
    insta::assert_snapshot!(format!("{}---\n{}", outcome.err, outcome.out));
}

#[tokio::test]
async fn the_first_run_without_a_terminal_says_how_to_set_up() {
    let host = FakeHost {
        progress: Progress::Fresh,
        ..FakeHost::new()
    };
    let outcome = piped(&host, "").await;
    assert_eq!(outcome.exit, Exit::Usage);
    assert!(
        outcome
            .err
            .contains("setup --non-interactive --provider offline"),
        "{}",
        outcome.err
    );
}

#[tokio::test]
async fn the_demonstration_asks_a_person_and_goes_on_by_itself_with_yes() {
    let host = FakeHost::new();
    assert!(typed(&host, "demo", &["n"]).await.out.contains("denied"));
    assert!(typed(&host, "demo", &["y"]).await.out.contains("allowed"));
    assert!(piped(&host, "demo --yes").await.out.contains("allowed"));
}

#[tokio::test]
async fn checks_that_fail_are_exit_1_with_their_fix() {
    let check = |id: &str, severity, fix: Option<&str>| Check {
        id: id.to_owned(),
        severity,
        message: "looked at".to_owned(),
        fix: fix.map(str::to_owned),
        fixed: false,
    };
    let report = Report {
        checks: vec![
            check("store.journal", Severity::Ok, None),
            check("path.mode", Severity::Warning, Some("chmod 700 /state")),
            check("box.userns", Severity::Skipped, None),
            check("token.file", Severity::Error, Some("run `adjutant setup`")),
        ],
    };
    let host = FakeHost {
        report,
        ..FakeHost::new()
    };
    let outcome = piped(&host, "doctor").await;
    assert_eq!(outcome.exit, Exit::Failed);
    insta::assert_snapshot!(outcome.out, @r"
    ok       store.journal: looked at
    warning  path.mode: looked at
             fix: chmod 700 /state
    skipped  box.userns: looked at
    error    token.file: looked at
             fix: run `adjutant setup`
    4 checks, 1 problem, 1 to look at, 1 skipped
    ");
    assert_eq!(piped(&host, "--json doctor").await.document()["ok"], false);
}

// covers: S6
#[tokio::test]
async fn a_named_gateway_never_gets_the_token_of_another() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = tokio::spawn(async move {
        use tokio::io::AsyncReadExt as _;
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = vec![0; 2048];
        let n = stream.read(&mut bytes).await.unwrap();
        String::from_utf8_lossy(&bytes[..n]).to_lowercase()
    });
    let host = host().await;
    piped(&host, &format!("--gateway http://{address} agent list")).await;
    let request = asked.await.unwrap();
    assert!(
        request.starts_with("get /rpc") && !request.contains("bearer local"),
        "{request}"
    );
}

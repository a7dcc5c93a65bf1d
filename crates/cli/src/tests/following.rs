//! Runs that are followed: words, questions, the end.

use serde_json::{Value, json};

use super::gateway::{Act, FakeGateway};
use super::host::FakeHost;
use super::screen::{drawn, mixed, piped, typed};
use crate::failure::Exit;

const MESSAGE: &str = "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const CALL: &str = "call_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const APPROVAL: &str = "appr_01ARZ3NDEKTSV4RRFFQ69G5FAV";

fn replied() -> Act {
    Act::Event(
        json!({ "type": "model_replied", "message": MESSAGE, "route": "offline/rules", "usage": {},
                       "cost": { "type": "priced", "micros": 0 } }),
    )
}

fn finished(outcome: &str) -> Act {
    Act::Event(
        json!({ "type": "run_finished", "outcome": outcome, "usage": {},
                       "cost": { "type": "priced", "micros": 1_200 } }),
    )
}

fn waited(state: &str, more: &Value) -> Value {
    let mut waited = json!({ "status": if state == "done" { "ok" } else { "error" }, "state": state,
        "usage": { "input": 1_200, "output": 34 }, "costMicros": 1_200, "startedAt": 1_000, "endedAt": 3_500 });
    waited
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    waited
}

fn history(text: &str) -> Value {
    json!({ "sessionKey": "agent:main:main", "hasMore": false, "verboseLevel": "on", "messages": [
        { "role": "assistant", "content": [{ "type": "text", "text": text }], "timestamp": 0, "id": MESSAGE }] })
}

fn approval(tool: &str) -> Value {
    json!({ "approval": { "id": APPROVAL, "owner": "owner", "run": "run_01ARZ3NDEKTSV4RRFFQ69G5FAV", "call": CALL,
        "session": "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV", "sessionKey": "agent:main:main", "agent": "main", "tool": tool,
        "class": "write", "digest": "d", "canonical": { "args": { "question": "Which colour?" } },
        "shown": "write todo.md\n+ buy milk", "reason": "the first write of this session", "grantKey": "file_write todo.md",
        "state": "open", "createdAt": 0, "expiresAt": 8_640_000_000_000_000_u64 } })
}

fn asked() -> Act {
    Act::Event(json!({ "type": "approval_requested", "approval": APPROVAL, "call": CALL }))
}

fn tool_story() -> Vec<Act> {
    let call = json!({ "type": "call_started", "call": CALL, "name": "file_write", "args": { "path": "todo.md" } });
    let done = json!({ "type": "call_finished", "call": CALL, "name": "file_write", "outcome": "done", "preview": "8 bytes" });
    vec![
        Act::Event(json!({ "type": "run_started" })),
        asked(),
        Act::Until("approvals.resolve"),
        Act::Event(call),
        Act::Event(done),
        Act::Delta("All **do"),
        Act::Delta("ne**."),
        replied(),
        finished("done"),
    ]
}

fn gateway(text: &str) -> FakeGateway {
    FakeGateway::answering(&[
        ("agent.wait", waited("done", &json!({ "text": text }))),
        ("chat.history", history(text)),
        ("approvals.get", approval("file_write")),
        ("approvals.resolve", approval("file_write")),
        (
            "chat.abort",
            json!({ "ok": true, "aborted": true, "runIds": [] }),
        ),
        ("sessions.describe", json!({ "session": null })),
        (
            "models.status",
            json!({ "default": "offline/rules", "fallbacks": [], "providers": [] }),
        ),
        (
            "agents.list",
            json!({ "defaultId": "main", "mainKey": "main", "scope": "per-sender", "agents": [] }),
        ),
    ])
}

#[tokio::test]
async fn in_a_script_the_answer_alone_is_on_stdout() {
    let fake =
        gateway("All **done**.").telling(vec![Act::Delta("All "), replied(), finished("done")]);
    let host = FakeHost::beside(fake.open().await);
    let outcome = piped(&host, "run 'tidy up'").await;
    assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
    assert_eq!(outcome.out, "All **done**.\n");
    assert_eq!(outcome.err, "· 1,200 in, 34 out · $0.0012 · 2.5 s\n");
    let sent = &fake.calls("chat.send")[0];
    assert_eq!(sent["message"], "tidy up");
    assert!(
        sent["sessionKey"].as_str().unwrap().starts_with("run-"),
        "{sent}"
    );
}

#[tokio::test]
async fn on_a_terminal_words_are_rendered_and_questions_are_asked_in_place() {
    let fake = gateway("All **done**.").telling(tool_story());
    let host = FakeHost::beside(fake.open().await);
    let outcome = typed(&host, "run 'tidy up'", &["what", "o"]).await;
    assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
    assert_eq!(outcome.out, "All done.\n");
    insta::assert_snapshot!(outcome.err);
    assert_eq!(fake.calls("approvals.resolve")[0]["decision"], "once");
}

#[tokio::test]
async fn where_nobody_can_be_asked_calls_are_denied_and_the_exit_code_says_so() {
    // covers: S31
    let fake = gateway("I could not write.").telling(tool_story());
    let host = FakeHost::beside(fake.open().await);
    let outcome = piped(&host, "--yes run 'tidy up'").await;
    assert_eq!(outcome.exit, Exit::Denied, "{outcome:?}");
    assert_eq!(outcome.out, "I could not write.\n");
    assert!(
        outcome
            .err
            .contains("hint: run it on a terminal, or decide beforehand with `--approve once`"),
        "{}",
        outcome.err
    );
    assert_eq!(fake.calls("approvals.resolve")[0]["decision"], "deny");
}

#[tokio::test]
async fn approve_once_allows_each_call_once() {
    let fake = gateway("done").telling(tool_story());
    let host = FakeHost::beside(fake.open().await);
    let outcome = piped(&host, "run 'tidy up' --approve once").await;
    assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
    assert_eq!(fake.calls("approvals.resolve")[0]["decision"], "once");
}

#[tokio::test]
async fn with_json_every_thing_is_a_line_and_the_result_is_the_last() {
    let fake = gateway("All **done**.").telling(tool_story());
    let host = FakeHost::beside(fake.open().await);
    let outcome = piped(&host, "--json run 'tidy up' --approve once").await;
    assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
    assert_eq!(outcome.err, "");
    let lines = outcome.lines();
    let kinds: Vec<&str> = lines
        .iter()
        .map(|line| line["type"].as_str().unwrap())
        .collect();
    let expected = [
        "started",
        "run_started",
        "approval_requested",
        "call_started",
        "call_finished",
        "delta",
        "delta",
        "model_replied",
        "run_finished",
        "result",
    ];
    assert_eq!(kinds, expected);
    let result = lines.last().unwrap();
    let session = result["sessionKey"].as_str().unwrap();
    assert!(session.starts_with("agent:main:run-"), "{session}");
    assert_eq!(lines[0]["sessionKey"], session);
    assert_eq!(
        (&result["text"], &result["exitCode"], &result["ok"]),
        (&json!("All **done**."), &json!(0), &json!(true))
    );
}

#[tokio::test]
async fn a_lost_connection_neither_loses_nor_doubles_words() {
    // covers: M015
    let fake = gateway("one two three four").telling(vec![
        Act::Delta("one "),
        Act::Delta("two "),
        Act::Break,
        // The next connection counts from one again, and begins in the middle.
        Act::Until("events.since"),
        Act::Delta("four"),
        replied(),
        finished("done"),
    ]);
    let host = FakeHost::beside(fake.open().await);
    let outcome = typed(&host, "--plain run count", &[]).await;
    assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
    let words: Vec<&str> = outcome.out.split_whitespace().collect();
    assert_eq!(words, ["one", "two", "three", "four"]);
    assert!(outcome.err.contains("connected again"), "{}", outcome.err);
}

#[tokio::test]
async fn a_run_that_failed_says_why_and_a_spent_budget_is_a_denial() {
    for (reason, exit) in [
        ("model", Exit::Failed),
        ("budget", Exit::Denied),
        ("timeout", Exit::Timeout),
    ] {
        let said = json!({ "reason": reason, "error": "it did not work" });
        let fake = gateway("")
            .with("agent.wait", waited("failed", &said))
            .telling(vec![finished("failed")]);
        let host = FakeHost::beside(fake.open().await);
        let outcome = piped(&host, "run x").await;
        assert_eq!(outcome.exit, exit, "{outcome:?}");
        assert!(
            outcome.err.contains("error: it did not work\nhint: "),
            "{}",
            outcome.err
        );
    }
}

#[tokio::test]
async fn after_the_time_given_the_run_is_stopped() {
    let cancelled = Act::Event(
        json!({ "type": "run_finished", "outcome": "cancelled", "usage": {},
                                       "cost": { "type": "unpriced" } }),
    );
    let fake = gateway("")
        .with("agent.wait", waited("cancelled", &json!({})))
        .telling(vec![Act::Until("chat.abort"), cancelled]);
    let host = FakeHost::beside(fake.open().await);
    let outcome = piped(&host, "run x --timeout 50ms").await;
    assert_eq!(outcome.exit, Exit::Timeout, "{outcome:?}");
    assert_eq!(fake.calls("chat.abort").len(), 1);
}

#[tokio::test]
async fn a_tool_call_prints_its_whole_result() {
    let result = json!({ "sessionKey": "agent:main:tools", "hasMore": false, "verboseLevel": "on", "messages": [
        { "role": "toolResult", "content": [{ "type": "text", "text": "line 1\nline 2" }], "timestamp": 0 }] });
    let call = json!({ "type": "call_finished", "call": CALL, "name": "file_read", "outcome": "done", "preview": "line 1" });
    let fake = gateway("")
        .with("agent.wait", waited("done", &json!({})))
        .with("chat.history", result)
        .telling(vec![Act::Event(call), finished("done")]);
    let host = FakeHost::beside(fake.open().await);
    let outcome = piped(&host, "tool call file_read path=notes.md limit=2").await;
    assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
    // Without a run's name on the message the preview is all there is.
    assert_eq!(outcome.out, "line 1\n");
    assert_eq!(
        fake.calls("tools.call")[0]["args"],
        json!({ "path": "notes.md", "limit": 2 })
    );
}

#[tokio::test]
async fn a_chat_talks_obeys_and_leaves() {
    let fake = gateway("Hello.")
        .with("sessions.reset", json!({ "ok": true, "key": "agent:main:main", "sessionId": "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV", "path": "store", "entry": {
            "key": "agent:main:main", "kind": "direct", "chatType": "direct", "verboseLevel": "on", "sessionId": "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "threadId": "thr_01ARZ3NDEKTSV4RRFFQ69G5FAV", "updatedAt": 0, "createdAt": 0, "agentId": "main",
            "displayName": "main" } }))
        .telling(vec![Act::Delta("Hel"), Act::Delta("lo."), replied(), finished("done")]);
    let host = FakeHost::beside(fake.open().await);
    let outcome = typed(&host, "chat", &["hi", "/hlep", "/help", "/new", "/quit"]).await;
    assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
    assert!(outcome.out.starts_with("Hello.\n"), "{}", outcome.out);
    insta::assert_snapshot!(format!("{}---\n{}", outcome.out, outcome.err));
    assert_eq!(fake.calls("chat.send").len(), 1);
}

#[tokio::test]
async fn a_question_of_the_agent_is_answered_with_words() {
    let fake = gateway("Blue it is.")
        .with("approvals.get", approval("ask_user"))
        .telling(vec![
            asked(),
            Act::Until("chat.send again"),
            finished("done"),
        ]);
    let host = FakeHost::beside(fake.open().await);
    let outcome = typed(&host, "chat", &["paint it", "blue"]).await;
    assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
    assert!(
        outcome.err.contains("main asks: Which colour?"),
        "{}",
        outcome.err
    );
    let sent: Vec<Value> = fake
        .calls("chat.send")
        .iter()
        .map(|it| it["message"].clone())
        .collect();
    assert_eq!(sent, ["paint it", "blue"]);
    assert!(fake.calls("approvals.resolve").is_empty());
}

#[tokio::test]
async fn a_named_route_starts_a_gateway_with_it_and_goes_to_the_session() {
    let fake = gateway("done").telling(vec![finished("done")]);
    let host = FakeHost {
        ephemeral: Some(fake.open().await),
        ..FakeHost::new()
    };
    let outcome = piped(
        &host,
        "run x --provider openai --base-url http://127.0.0.1:1/v1",
    )
    .await;
    assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
    assert_eq!(host.asked(), [r#"ephemeral Here Some("openai")"#]);
    assert_eq!(fake.calls("chat.send")[0]["model"], "offline/rules");
}

#[tokio::test]
async fn beside_a_running_gateway_a_model_can_be_chosen_but_no_address() {
    let fake = gateway("done").telling(vec![finished("done")]);
    let host = FakeHost::beside(fake.open().await);
    let outcome = piped(&host, "run x --base-url http://127.0.0.1:1/v1").await;
    assert_eq!(outcome.exit, Exit::Conflict, "{outcome:?}");
    assert!(
        outcome
            .err
            .contains("hint: stop it with `adjutant gateway stop`"),
        "{}",
        outcome.err
    );
    for (flags, model) in [
        ("--provider groq --model llama", "groq/llama"),
        ("--provider anthropic", "anthropic/claude-sonnet-4-5"),
        ("--model other", "offline/other"),
    ] {
        let fake = gateway("done").telling(vec![finished("done")]);
        let host = FakeHost::beside(fake.open().await);
        assert_eq!(
            piped(&host, &format!("run x {flags}")).await.exit,
            Exit::Done
        );
        assert_eq!(fake.calls("chat.send")[0]["model"], model, "{flags}");
    }
}

#[tokio::test]
async fn the_exit_code_of_a_tool_call_is_that_of_its_outcome() {
    for (outcome, exit) in [
        ("done", Exit::Done),
        ("denied", Exit::Denied),
        ("failed", Exit::Failed),
        ("unknown", Exit::Failed),
    ] {
        let call = json!({ "type": "call_finished", "call": CALL, "name": "file_read", "outcome": outcome,
            "preview": "what it said" });
        let fake = gateway("").telling(vec![Act::Event(call), finished("done")]);
        let host = FakeHost::beside(fake.open().await);
        let came = piped(&host, "tool call file_read path=notes.md").await;
        assert_eq!(came.exit, exit, "{outcome}: {came:?}");
    }
}

#[tokio::test]
async fn words_that_overtake_the_end_of_a_call_are_shown_after_it() {
    let call = json!({ "type": "call_started", "call": CALL, "name": "file_read", "args": { "path": "a" } });
    let done = json!({ "type": "call_finished", "call": CALL, "name": "file_read", "outcome": "done", "preview": "x" });
    let fake = gateway("It says x.").telling(vec![
        Act::Event(call),
        Act::Delta("It says x."),
        Act::Event(done),
        replied(),
        finished("done"),
    ]);
    let host = FakeHost::beside(fake.open().await);
    let outcome = mixed(&host, "run 'read a'").await;
    assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
    assert_eq!(
        outcome.out,
        "· file_read path=a\n✓ file_read x\nIt says x.\n· 1,200 in, 34 out · $0.0012 · 2.5 s\n"
    );
}

#[tokio::test]
async fn a_block_is_drawn_while_it_grows_and_replaced_when_it_is_complete() {
    let fake = gateway("It is **good**.").telling(vec![
        Act::Delta("It is "),
        Act::Delta("**good**."),
        replied(),
        finished("done"),
    ]);
    let host = FakeHost::beside(fake.open().await);
    let outcome = drawn(&host, "run 'how is it'").await;
    assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
    assert_eq!(
        outcome.out,
        "It is\r\u{1b}[JIt is good.\r\u{1b}[JIt is good.\n"
    );
}

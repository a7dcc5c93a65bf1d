//! The OpenAI-compatible routes over real HTTP, and the official clients against them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use adjutant_domain::id::{CallId, MessageId};
use adjutant_domain::label::{Label, Origin};
use adjutant_domain::message::Part;
use adjutant_domain::money::{Cost, Usage};
use adjutant_domain::run::{Entry, FailKind, Outcome, Signal};
use adjutant_domain::tool::ToolOutcome;
use adjutant_ports::store::Claim;

use crate::rpc::ask;
use crate::world::{PATIENCE, TOKEN, World};

/// Puts chunks of a chunked body together.
fn unchunked(body: &str) -> String {
    let (mut out, mut rest) = (String::new(), body);
    while let Some((size, after)) = rest.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else {
            return body.to_owned();
        };
        if size == 0 {
            break;
        }
        out.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    out
}

async fn post(world: &World, path: &str, headers: &[&str], body: &Value) -> (u16, Value) {
    let (status, text) = post_text(world, path, headers, body).await;
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

async fn post_text(world: &World, path: &str, headers: &[&str], body: &Value) -> (u16, String) {
    let token = format!("Authorization: Bearer {TOKEN}");
    let mut all = vec![token.as_str(), "Content-Type: application/json"];
    all.extend(headers);
    let (status, text) = world
        .http("POST", path, &all, body.to_string().as_bytes())
        .await;
    let chunked = text
        .split("\r\n")
        .next()
        .is_some_and(|it| usize::from_str_radix(it.trim(), 16).is_ok());
    (status, if chunked { unchunked(&text) } else { text })
}

/// The data of server-sent events.
fn events(text: &str) -> Vec<Value> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
    lines
        .filter(|it| *it != "[DONE]")
        .map(|it| serde_json::from_str(it).unwrap())
        .collect()
}

fn hello() -> Value {
    json!({ "model": "adjutant/main", "messages": [{ "role": "user", "content": "hello" }] })
}

/// Does the next run with one tool call before its answer.
async fn work_with_a_tool(world: &World, text: &str) {
    let claim = world.claim().await;
    finish_with_a_tool(world, &claim, text).await;
}

async fn finish_with_a_tool(world: &World, claim: &Claim, text: &str) {
    let now = claim.log.last().unwrap().at;
    let bits = claim.run.id.as_u128();
    let call = CallId::mint(now, bits ^ 1);
    let (_, mut entries) = world.reply("");
    if let Some(Entry::ModelReplied { parts, .. }) = entries.last_mut() {
        *parts = vec![
            Part::Text {
                text: "Let me look.".to_owned(),
            },
            Part::ToolCall {
                call,
                wire_id: "w1".to_owned(),
                name: "file_list".to_owned(),
                args: json!({ "path": "." }),
            },
        ];
    }
    entries.push(Entry::CallAdmitted {
        call,
        trail: vec![],
    });
    entries.push(Entry::CallStarted {
        call,
        attempt: 1,
        name: "file_list".to_owned(),
        args: json!({ "path": "." }),
    });
    world.append(claim, entries).await;
    let (message, reply) = world.reply(text);
    let mut entries = vec![Entry::CallFinished {
        call,
        wire_id: "w1".to_owned(),
        name: "file_list".to_owned(),
        message: MessageId::mint(now, bits ^ 2),
        outcome: ToolOutcome::Done {
            text: "two files".to_owned(),
            label: Label::of(Origin::Owner),
        },
        trail: vec![],
    }];
    entries.extend(reply);
    entries.push(World::done(message));
    world.append(claim, entries).await;
}

#[tokio::test]
async fn agents_are_the_models() {
    let world = World::new().await;
    let token = format!("Authorization: Bearer {TOKEN}");
    let get = async |path: &str| world.http("GET", path, &[&token], b"").await;
    let (status, text) = get("/v1/models").await;
    let listed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &listed["object"]), (200, &json!("list")));
    assert_eq!(listed["data"][0]["id"], "adjutant/main");
    assert_eq!(get("/v1/models/adjutant/main").await.0, 200);
    assert_eq!(get("/v1/models/adjutant%2Fmain").await.0, 200);
    let (status, text) = get("/v1/models/gpt-4o").await;
    let refused: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (status, &refused["error"]["code"]),
        (404, &json!("model_not_found"))
    );
}

#[tokio::test]
async fn a_completion_is_a_run_with_its_real_usage() {
    let world = World::new().await;
    let body = hello();
    let (answered, ()) = tokio::join!(
        post(&world, "/v1/chat/completions", &[], &body),
        world.work("hi there")
    );
    let (status, answer) = answered;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["choices"][0]["message"]["content"], "hi there");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        answer["usage"],
        json!({
            "prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14,
            "prompt_tokens_details": { "cached_tokens": 0 },
        })
    );
    let runs = world.ok("runs.list", json!({})).await;
    let id = runs["runs"][0]["runId"]
        .as_str()
        .or(runs["runs"][0]["id"].as_str())
        .map(str::to_owned);
    assert!(id.is_some(), "the run is a run like any other: {runs}");
}

#[tokio::test]
async fn a_stream_tells_words_and_tools_and_ends_with_usage() {
    let world = World::new().await;
    let mut body = hello();
    body["stream"] = json!(true);
    body["stream_options"] = json!({ "include_usage": true });
    let (answered, ()) = tokio::join!(
        post_text(&world, "/v1/chat/completions", &[], &body),
        work_with_a_tool(&world, "There are two.")
    );
    let (status, text) = answered;
    assert_eq!(status, 200, "{text}");
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let chunks = events(&text);
    let words: String = chunks
        .iter()
        .filter_map(|it| it["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(words, "Let me look.\n\nThere are two.");
    let tools: Vec<&str> = chunks
        .iter()
        .filter_map(|it| it["adjutant"]["type"].as_str())
        .collect();
    assert_eq!(tools, ["tool_call.started", "tool_call.ended"]);
    let finish: Vec<&str> = chunks
        .iter()
        .filter_map(|it| it["choices"][0]["finish_reason"].as_str())
        .collect();
    assert_eq!(finish, ["stop"]);
    assert_eq!(chunks.last().unwrap()["usage"]["total_tokens"], 28);
}

#[tokio::test]
async fn a_response_has_items_for_words_and_tools_and_can_be_continued() {
    let world = World::new().await;
    let body = json!({ "model": "main", "input": "how many?" });
    let (answered, ()) = tokio::join!(
        post(&world, "/v1/responses", &[], &body),
        work_with_a_tool(&world, "There are two.")
    );
    let (status, first) = answered;
    assert_eq!(
        (status, &first["status"]),
        (200, &json!("completed")),
        "{first}"
    );
    let kinds: Vec<&str> = first["output"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["type"].as_str())
        .collect();
    assert_eq!(kinds, ["message", "mcp_call", "message"]);
    assert_eq!(first["output"][1]["output"], "two files");
    assert_eq!(first["output"][2]["content"][0]["text"], "There are two.");
    assert_eq!(first["usage"]["output_tokens"], 8);

    let body = json!({ "model": "main", "input": "really?", "previous_response_id": first["id"], "stream": true });
    let (answered, ()) = tokio::join!(
        post_text(&world, "/v1/responses", &[], &body),
        world.work("yes")
    );
    let told = events(&answered.1);
    let kinds: Vec<&str> = told.iter().filter_map(|it| it["type"].as_str()).collect();
    assert_eq!(kinds.first(), Some(&"response.created"));
    assert_eq!(kinds.last(), Some(&"response.completed"));
    let numbers: Vec<u64> = told
        .iter()
        .filter_map(|it| it["sequence_number"].as_u64())
        .collect();
    assert_eq!(numbers, (0..told.len() as u64).collect::<Vec<_>>());
    let last = &told.last().unwrap()["response"];
    assert_eq!(last["output"][0]["content"][0]["text"], "yes");
    assert_eq!(last["previous_response_id"], first["id"]);
    let sessions = world.ok("sessions.list", json!({})).await;
    assert_eq!(
        sessions["sessions"].as_array().unwrap().len(),
        1,
        "{sessions}"
    );

    let body = json!({ "model": "main", "input": "x", "previous_response_id": "resp_nothing" });
    let (status, refused) = post(&world, "/v1/responses", &[], &body).await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (400, &json!("previous_response_not_found"))
    );
}

#[tokio::test]
async fn a_user_or_a_conversation_or_a_header_names_the_session() {
    let world = World::new().await;
    let mut body = hello();
    body["user"] = json!("anna");
    let conversation = json!({ "input": "hello", "conversation": { "id": "conv_1" } });
    let header = ["X-Adjutant-Session: agent:main:main"];
    let plain = hello();
    let (one, ()) = tokio::join!(
        post(&world, "/v1/chat/completions", &[], &body),
        world.work("a")
    );
    let (two, ()) = tokio::join!(
        post(&world, "/v1/responses", &[], &conversation),
        world.work("b")
    );
    let (three, ()) = tokio::join!(
        post(&world, "/v1/chat/completions", &header, &plain),
        world.work("c")
    );
    assert_eq!((one.0, two.0, three.0), (200, 200, 200));
    assert_eq!(two.1["conversation"]["id"], "conv_1");
    for (key, words) in [("openai:anna", "a"), ("openai:conv_1", "b"), ("main", "c")] {
        let history = world.ok("chat.history", json!({ "sessionKey": key })).await;
        assert_eq!(
            history["messages"][1]["content"][0]["text"], words,
            "{key}: {history}"
        );
    }
}

#[tokio::test]
async fn the_same_key_is_the_same_run_and_another_body_is_refused() {
    // covers: R5
    let world = World::new().await;
    let key = ["Idempotency-Key: once-1"];
    let body = hello();
    let (first, ()) = tokio::join!(
        post(&world, "/v1/chat/completions", &key, &body),
        world.work("hi")
    );
    let (status, again) = post(&world, "/v1/chat/completions", &key, &body).await;
    assert_eq!((status, &again["id"]), (200, &first.1["id"]));
    assert_eq!(again["choices"][0]["message"]["content"], "hi");
    let other = json!({ "messages": [{ "role": "user", "content": "something else" }] });
    let (status, refused) = post(&world, "/v1/chat/completions", &key, &other).await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (409, &json!("idempotency_mismatch")),
        "{refused}"
    );
}

#[tokio::test]
async fn a_run_that_waits_for_an_approval_says_so() {
    let world = World::new().await;
    let key = ["Idempotency-Key: ask-1"];
    let body = hello();
    let (answered, approval) =
        tokio::join!(post(&world, "/v1/chat/completions", &key, &body), async {
            let claim = world.claim().await;
            ask(&world, &claim).await.to_string()
        });
    let answer = answered.1;
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["adjutant"]["status"], "waiting_approval");
    assert_eq!(answer["adjutant"]["approvals"], json!([approval]));
    let said = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(said.contains(&approval), "{said}");
    let body = json!({ "input": "hello", "conversation": "c1" });
    let (answered, ()) = tokio::join!(post(&world, "/v1/responses", &[], &body), async {
        let claim = world.claim().await;
        ask(&world, &claim).await;
    });
    assert_eq!(answered.1["status"], "incomplete");
    assert_eq!(
        answered.1["incomplete_details"]["reason"],
        "waiting_approval"
    );
}

#[tokio::test]
async fn a_run_that_fails_is_an_error_in_the_shape_of_each_route() {
    let world = World::new().await;
    let fail = async || {
        let claim = world.claim().await;
        let outcome = Outcome::Failed {
            kind: FailKind::Model,
            reason: "no route answered".to_owned(),
        };
        let end = Entry::Finished {
            outcome,
            usage: Usage::default(),
            cost: Cost::Unpriced,
        };
        world.append(&claim, vec![end]).await;
    };
    let body = hello();
    let (answered, ()) = tokio::join!(post(&world, "/v1/chat/completions", &[], &body), fail());
    assert_eq!(
        (answered.0, &answered.1["error"]["code"]),
        (500, &json!("run_failed"))
    );
    assert!(
        answered.1["error"]["message"]
            .as_str()
            .unwrap()
            .contains("no route answered")
    );
    let mut streamed = hello();
    streamed["stream"] = json!(true);
    let (answered, ()) = tokio::join!(
        post_text(&world, "/v1/chat/completions", &[], &streamed),
        fail()
    );
    assert_eq!(
        events(&answered.1).last().unwrap()["error"]["code"],
        "run_failed"
    );
    let body = json!({ "input": "hello" });
    let (answered, ()) = tokio::join!(post(&world, "/v1/responses", &[], &body), fail());
    assert_eq!((answered.0, &answered.1["status"]), (200, &json!("failed")));
}

#[tokio::test]
async fn refusals_have_the_shape_that_openai_clients_read() {
    // covers: S3, S4, S9
    let world = World::new().await;
    let refused = async |headers: &[&str], body: &Value| {
        let mut all = vec!["Content-Type: application/json"];
        all.extend(headers);
        let (status, text) = world
            .http(
                "POST",
                "/v1/chat/completions",
                &all,
                body.to_string().as_bytes(),
            )
            .await;
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        (
            status,
            answer["error"]["code"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let token = format!("Authorization: Bearer {TOKEN}");
    let wrong = "Authorization: Bearer nonsense-nonsense-nonsense-12";
    assert_eq!(
        refused(&[], &hello()).await,
        (401, "invalid_api_key".to_owned())
    );
    assert_eq!(
        refused(&[wrong], &hello()).await,
        (401, "invalid_api_key".to_owned())
    );
    let origin = "Origin: https://evil.example";
    assert_eq!(refused(&[&token, origin], &hello()).await.0, 403);
    let node = "Sec-Fetch-Mode: cors";
    assert_eq!(refused(&[&token, node], &hello()).await.0, 403);
    assert_eq!(
        refused(&[&token, "Host: evil.example"], &hello()).await.0,
        421
    );
    let with = |name: &str, value: Value| {
        let mut body = hello();
        body[name] = value;
        body
    };
    for (body, status, code) in [
        (with("model", json!("gpt-4o")), 404, "model_not_found"),
        (
            with("tools", json!([{ "type": "function" }])),
            400,
            "invalid_request",
        ),
        (with("n", json!(2)), 400, "invalid_request"),
        (
            with("response_format", json!({ "type": "json_object" })),
            400,
            "invalid_request",
        ),
        (with("messages", json!([])), 400, "invalid_request"),
        (
            with("messages", json!([{ "role": "assistant", "content": "x" }])),
            400,
            "invalid_request",
        ),
        (with("messages", json!("x")), 400, "invalid_request"),
    ] {
        assert_eq!(
            refused(&[&token], &body).await,
            (status, code.to_owned()),
            "{body}"
        );
    }
    let (status, _) = post(&world, "/v1/embeddings", &[], &hello()).await;
    assert_eq!(status, 404);
    let long = with(
        "messages",
        json!([{ "role": "user", "content": "x".repeat(300 * 1024) }]),
    );
    assert_eq!(
        refused(&[&token], &long).await,
        (413, "too_large".to_owned())
    );
    world.assert_healthy().await;
}

/// Begins a stream, reads its first piece, and hangs up.
async fn hang_up(world: &World, header: &str) -> Claim {
    let mut body = hello();
    body["stream"] = json!(true);
    let body = body.to_string();
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {TOKEN}\r\n{header}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        world.address.port(),
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let claim = world.claim().await;
    let mut seen = String::new();
    while !seen.contains("chat.completion.chunk") {
        let mut piece = [0; 1024];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut piece))
            .await
            .unwrap()
            .unwrap();
        assert!(0 < read, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    claim
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_its_run_alone_unless_it_asked_otherwise() {
    let world = World::new().await;
    let claim = hang_up(&world, "").await;
    world.pulse(&claim, "words ");
    let (message, mut entries) = world.reply("words to nobody");
    entries.push(World::done(message));
    world.append(&claim, entries).await;
    let name = claim.run.name();
    let waited = world.ok("agent.wait", json!({ "runId": name })).await;
    assert_eq!(waited["state"], "done");

    let claim = hang_up(&world, "X-Adjutant-On-Disconnect: cancel\r\n").await;
    let stopped = tokio::time::timeout(PATIENCE, async {
        loop {
            world.pulse(&claim, "more ");
            let signals = world
                .store
                .extend(claim.run.id, claim.fence, Duration::from_secs(30))
                .await
                .unwrap();
            if signals.iter().any(|it| matches!(it, Signal::Cancel { .. })) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    stopped.await.expect("the run is told to stop");
}

/// Says on stderr, past the capture of the test runner, why nothing was tested.
fn skip(why: &str) {
    writeln!(
        std::io::stderr().lock(),
        "SKIPPED official OpenAI client: {why}"
    )
    .unwrap();
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openai")
}

/// Runs a program of an official client against a gateway whose worker answers every run with a tool call before.
async fn client(program: &Path, script: &str) {
    let world = World::new().await;
    let child = tokio::process::Command::new(program)
        .arg(folder().join(script))
        .env("OPENAI_BASE_URL", format!("http://{}/v1", world.address))
        .env("OPENAI_API_KEY", TOKEN)
        .env_remove("HTTP_PROXY")
        .env_remove("http_proxy")
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let worker = async {
        loop {
            work_with_a_tool(&world, "There are two.").await;
        }
    };
    let out = tokio::select! {
        out = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()) => out.unwrap().unwrap(),
        () = worker => unreachable!("the worker works for ever"),
    };
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert!(said.ends_with("all fine\n"), "{said}");
}

#[tokio::test]
async fn the_official_python_client_works_unchanged() {
    let program = folder().join(".venv/bin/python");
    if !folder().join(".venv/installed.txt").exists() {
        return skip("no tests/openai/.venv (`cargo xtask test` makes it)");
    }
    client(&program, "client.py").await;
}

#[tokio::test]
async fn the_official_npm_client_works_when_it_names_the_origin_of_the_gateway() {
    if !folder().join("node_modules/openai").exists() {
        return skip("no tests/openai/node_modules (`cargo xtask test` runs `npm ci`)");
    }
    client(Path::new("node"), "client.mjs").await;
}

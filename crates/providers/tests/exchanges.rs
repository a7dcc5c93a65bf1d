//! Golden exchanges: recorded answers of every wire format, replayed over a socket in odd pieces. The snapshots show
//! what we made of them and what we had sent.

#![allow(clippy::unwrap_used)]

mod support;

use adjutant_domain::message::{Part, Role};
use adjutant_ports::provider::{ModelAsk, ModelMessage};

use support::{KEY, Replay, answered, ask, end_of, recorded, registry, run, shown, stable, user};

/// Replays `tests/<provider>/<name>.http` and shows what came out.
async fn exchange(provider: &str, name: &str) -> String {
    exchange_as(provider, provider, name).await
}

async fn exchange_as(folder: &str, provider: &str, name: &str) -> String {
    let server = Replay::of(recorded(folder, name)).await;
    let models = registry(provider, &format!("http://{}/v1", server.address), "");
    let (events, fault) = run(&models, provider, ask("m", "What is in a and b?")).await;
    let shown = shown(&events, fault.as_ref());
    assert!(!shown.contains(KEY));
    assert_eq!(server.sent().len(), 1);
    shown
}

macro_rules! exchanges {
    ($($test:ident: $provider:literal, [$($name:literal),+ $(,)?];)+) => {$(
        // covers: R6, R30, R31
        #[tokio::test]
        async fn $test() {
            $(
                let shown = exchange($provider, $name).await;
                insta::assert_snapshot!(concat!($provider, "_", $name), shown);
            )+
        }
    )+};
}

exchanges! {
    every_answer_of_openai_is_understood: "openai", [
        "tool_call", "multi_block", "cut", "rate_limit", "server_error", "garbage", "refusal",
        "overloaded", "no_usage", "compatible_calls",
    ];
    every_answer_of_openai_responses_is_understood: "openai-responses", [
        "tool_call", "multi_block", "cut", "rate_limit", "server_error", "garbage", "refusal",
        "overloaded", "length",
    ];
    every_answer_of_anthropic_is_understood: "anthropic", [
        "tool_call", "multi_block", "cut", "rate_limit", "server_error", "garbage", "refusal",
        "overloaded",
    ];
    every_answer_of_gemini_is_understood: "gemini", [
        "tool_call", "multi_block", "cut", "rate_limit", "server_error", "garbage", "refusal",
        "overloaded", "blocked_prompt",
    ];
    the_accent_of_openrouter_is_understood: "openrouter", ["multi_block"];
    the_accent_of_groq_is_understood: "groq", ["tool_call"];
}

#[tokio::test]
async fn ollama_speaks_the_compatible_dialect() {
    let shown = exchange_as("openai", "ollama", "compatible_calls").await;
    insta::assert_snapshot!("ollama_compatible_calls", shown);
}

/// What is sent in the second turn of a conversation: system text, tools, signed reasoning, two calls, two results.
async fn second_turn(provider: &str, model: &str) -> String {
    let server = Replay::of(recorded(provider, "multi_block")).await;
    let models = registry(provider, &format!("http://{}", server.address), "");
    let first = ask(model, "What is in a and b?");
    let (events, fault) = run(&models, provider, first.clone()).await;
    assert_eq!(fault, None);
    let mut second = first;
    second.messages.insert(
        0,
        ModelMessage {
            role: Role::Summary,
            parts: vec![support::text("Earlier: hello.")],
        },
    );
    second.messages.extend(answered(end_of(&events)));
    // Reasoning of another provider must stay here.
    let foreign = Some("elsewhere:c2ln".to_owned());
    second.messages.push(ModelMessage {
        role: Role::Assistant,
        parts: vec![
            Part::Thinking {
                text: "hm".to_owned(),
                signature: foreign,
            },
            support::text("a is fine."),
        ],
    });
    second.messages.push(user("And now?"));
    let _ = run(&models, provider, second.clone()).await;
    let _ = run(&models, provider, second).await;
    let sent = server.sent();
    assert_eq!(sent.len(), 3);
    assert_eq!(
        sent[1].body, sent[2].body,
        "the same ask gives the same bytes"
    );
    let credentials: Vec<&str> = sent[1]
        .headers
        .iter()
        .filter(|(_, v)| v.contains(KEY))
        .map(|(n, _)| n.as_str())
        .collect();
    let body = serde_json::to_string_pretty(&sent[1].json()).unwrap();
    assert!(!body.contains(KEY) && !body.contains("elsewhere"));
    stable(&format!("{}\nkey in {credentials:?}\n{body}", sent[1].line))
}

// covers: TE-18
#[tokio::test]
async fn the_second_turn_is_sent_as_each_api_wants_it() {
    for (provider, model) in [
        ("openai", "gpt-5-mini"),
        ("openai-responses", "gpt-5-mini"),
        ("anthropic", "claude-sonnet-4-5"),
        ("gemini", "gemini-3-pro-preview"),
        ("openrouter", "anthropic/claude-sonnet-4.5"),
    ] {
        let sent = second_turn(provider, model).await;
        insta::assert_snapshot!(format!("sent_to_{provider}"), sent);
    }
}

#[tokio::test]
async fn a_conversation_begun_elsewhere_can_go_on_everywhere() {
    let begun: Vec<ModelMessage> = {
        let server = Replay::of(recorded("anthropic", "multi_block")).await;
        let models = registry("anthropic", &format!("http://{}", server.address), "");
        let (events, _) = run(&models, "anthropic", ask("m", "go")).await;
        answered(end_of(&events))
    };
    // A compacted conversation may begin with the assistant, and raw arguments may not be JSON.
    let broken = |messages: &mut Vec<ModelMessage>| {
        for part in messages.iter_mut().flat_map(|m| &mut m.parts) {
            if let Part::ToolCall { args, .. } = part {
                *args = serde_json::Value::String("{oops".to_owned());
            }
        }
    };
    for provider in ["openai", "openai-responses", "gemini"] {
        let server = Replay::of(recorded(provider, "tool_call")).await;
        let models = registry(provider, &format!("http://{}", server.address), "");
        let mut messages = begun.clone();
        broken(&mut messages);
        let ask = ModelAsk {
            messages,
            ..ask("gemini-3-pro-preview", "")
        };
        let (events, fault) = run(&models, provider, ask).await;
        assert_eq!(
            (fault, end_of(&events).calls.len()),
            (None, 1),
            "{provider}"
        );
        let body = serde_json::to_string_pretty(&server.sent()[0].json()).unwrap();
        assert!(!body.contains("EqQB"), "a foreign signature left the house");
        insta::assert_snapshot!(format!("begun_elsewhere_{provider}"), body);
    }
}

#![allow(clippy::unwrap_used)]

use super::*;
use crate::kind::Kind;
use crate::tests_support::HandClock;
use adjutant_ports::provider::ModelEnd;

/// Reads `body` as the whole reply of a provider, as if the connection had closed behind it.
async fn read(kind: Kind, body: Vec<u8>) -> Result<ModelEnd, ModelFault> {
    let clock: Arc<dyn Clock> = HandClock::new();
    let breaker = Arc::new(Breaker::new(clock, 5, Duration::from_secs(1)));
    let minute = Duration::from_secs(60);
    let mut live = Live {
        response: http::Response::new(reqwest::Body::from(body)).into(),
        decoder: Decoder::default(),
        reader: kind.wire().reader(),
        reply: Reply::new("t".to_owned()),
        prompt_bytes: 0,
        received: 0,
        started: Instant::now(),
        deadlines: Deadlines {
            connect: minute,
            first_byte: minute,
            idle: minute,
            total: minute,
        },
        key: None,
        ticket: breaker.admit().unwrap(),
        fault: None,
        phase: Phase::Reading,
    };
    let mut end = None;
    while let Some(item) = live.next().await {
        if let ModelEvent::End(last) = item? {
            end = Some(last);
        }
    }
    end.ok_or(ModelFault::Lost)
}

fn body(text: &str) -> &[u8] {
    text.split_once("\n\n").unwrap().1.as_bytes()
}

/// Cuts a recorded reply at every byte: what comes out is a fault, or everything the model said.
async fn check_every_cut(kind: Kind, recorded: &str) {
    let body = body(recorded);
    let whole = read(kind, body.to_vec()).await.unwrap();
    let mut n_cut = 0;
    for cut in 0..body.len() {
        match read(kind, body[..cut].to_vec()).await {
            // The counts may come after the reason to stop, and then are estimated.
            Ok(end) => {
                assert_eq!(
                    (&end.text, &end.calls, &end.stop),
                    (&whole.text, &whole.calls, &whole.stop)
                );
                assert!(
                    end.usage == whole.usage || end.usage.estimated,
                    "{kind:?} at {cut}"
                );
            }
            Err(ModelFault::Cut) => n_cut += 1,
            Err(other) => unreachable!("{kind:?} cut at {cut} is {other:?}"),
        }
    }
    assert!(body.len() / 2 < n_cut);
}

// covers: R6
#[tokio::test]
async fn a_reply_cut_at_any_byte_is_never_taken_for_a_different_complete_one() {
    check_every_cut(
        Kind::OpenAi,
        include_str!("../../tests/openai/multi_block.http"),
    )
    .await;
    check_every_cut(
        Kind::OpenRouter,
        include_str!("../../tests/openrouter/multi_block.http"),
    )
    .await;
    check_every_cut(
        Kind::Responses,
        include_str!("../../tests/openai-responses/multi_block.http"),
    )
    .await;
    check_every_cut(
        Kind::Anthropic,
        include_str!("../../tests/anthropic/multi_block.http"),
    )
    .await;
    check_every_cut(
        Kind::Gemini,
        include_str!("../../tests/gemini/multi_block.http"),
    )
    .await;
}

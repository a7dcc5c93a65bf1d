//! What networks do to a request, and what must never happen on one.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use adjutant_domain::run::ModelFault;
use adjutant_ports::provider::{ModelEvent, Models};

use support::{KEY, Replay, ask, end_of, read_request, recorded, registry, run};

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn chunk(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

fn said(words: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{words}\"}}}}]}}\n\n")
}

const STOP: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    (listener, url)
}

#[tokio::test]
async fn a_word_is_handed_on_before_the_next_one_is_written() {
    let (listener, url) = listen().await;
    let (heard, wait) = oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await.unwrap();
        stream
            .write_all(&[HEAD, &chunk(&said("one"))].concat())
            .await
            .unwrap();
        // Deadlocks, and fails by the test's own deadline, if the word is held back.
        wait.await.unwrap();
        let rest = [chunk(&said(" two")), chunk(STOP), b"0\r\n\r\n".to_vec()].concat();
        stream.write_all(&rest).await.unwrap();
    });
    let models = registry("openai", &url, "");
    let route = models.route("openai").unwrap();
    let mut stream = route.provider.stream(&ask("m", "count")).await.unwrap();
    let first = tokio::time::timeout(Duration::from_secs(20), stream.next())
        .await
        .unwrap();
    assert_eq!(first, Some(Ok(ModelEvent::Text("one".to_owned()))));
    heard.send(()).unwrap();
    let rest: Vec<_> = stream.map(Result::unwrap).collect().await;
    assert_eq!(end_of(&rest).text, "one two");
    server.await.unwrap();
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..3 {
            read_request(&mut stream).await.unwrap();
            let answer = [
                HEAD.to_vec(),
                chunk(&said("hi")),
                chunk(STOP),
                b"0\r\n\r\n".to_vec(),
            ];
            stream.write_all(&answer.concat()).await.unwrap();
        }
    });
    let models = registry("openai", &url, "");
    for _ in 0..3 {
        let (events, fault) = run(&models, "openai", ask("m", "hi")).await;
        assert_eq!((fault, end_of(&events).text.as_str()), (None, "hi"));
    }
    server.await.unwrap();
}

// covers: R30
#[tokio::test]
async fn silence_ends_at_its_deadline() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let mut kept = Vec::new();
        for nth in 0..3 {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await.unwrap();
            match nth {
                0 => {}
                1 => stream.write_all(HEAD).await.unwrap(),
                _ => stream
                    .write_all(&[HEAD, &chunk(&said("one"))].concat())
                    .await
                    .unwrap(),
            }
            kept.push(stream);
        }
        std::future::pending::<()>().await;
    });
    let models = registry(
        "openai",
        &url,
        "first_byte_timeout = '150ms'\nidle_timeout = '150ms'",
    );
    for n_events in [0, 0, 1] {
        let started = Instant::now();
        let (events, fault) = run(&models, "openai", ask("m", "hi")).await;
        assert_eq!(
            (events.len(), fault),
            (n_events, Some(ModelFault::TimedOut))
        );
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    server.abort();
}

// covers: R30
#[tokio::test]
async fn a_reply_that_never_stops_talking_ends_at_the_total() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await.unwrap();
        stream.write_all(HEAD).await.unwrap();
        while stream.write_all(&chunk(": still here\n\n")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let models = registry("openai", &url, "timeout = '300ms'");
    let (_, fault) = run(&models, "openai", ask("m", "hi")).await;
    assert_eq!(fault, Some(ModelFault::TimedOut));
    server.abort();
}

#[tokio::test]
async fn a_reset_in_mid_stream_is_a_cut() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await.unwrap();
        stream
            .write_all(&[HEAD, &chunk(&said("one"))].concat())
            .await
            .unwrap();
    });
    let models = registry("openai", &url, "");
    let (events, fault) = run(&models, "openai", ask("m", "hi")).await;
    assert_eq!((events.len(), fault), (1, Some(ModelFault::Cut)));
    server.await.unwrap();
}

#[tokio::test]
async fn an_endless_reply_is_refused() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await.unwrap();
        stream.write_all(HEAD).await.unwrap();
        let piece = chunk(&format!(": {}\n", "x".repeat(1 << 20)));
        while stream.write_all(&piece).await.is_ok() {}
    });
    let models = registry("openai", &url, "");
    let (_, fault) = run(&models, "openai", ask("m", "hi")).await;
    assert!(
        matches!(fault, Some(ModelFault::Garbage { .. })),
        "{fault:?}"
    );
    server.abort();
}

// covers: S47
#[tokio::test]
async fn a_key_does_not_follow_a_redirect() {
    let elsewhere = Replay::of(recorded("openai", "tool_call")).await;
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{}/v1/chat/completions\r\ncontent-length: 0\r\n\r\n",
        elsewhere.address
    );
    let server = Replay::of(answer.into_bytes()).await;
    for (provider, header) in [
        ("openai", "authorization"),
        ("anthropic", "x-api-key"),
        ("gemini", "x-goog-api-key"),
    ] {
        let models = registry(provider, &format!("http://{}", server.address), "");
        let (_, fault) = run(&models, provider, ask("m", "hi")).await;
        assert!(
            matches!(fault, Some(ModelFault::Rejected { .. })),
            "{fault:?}"
        );
        assert!(
            server
                .sent()
                .last()
                .unwrap()
                .header(header)
                .unwrap()
                .ends_with(KEY)
        );
    }
    assert_eq!(elsewhere.sent().len(), 0);
}

// covers: S45
#[tokio::test]
async fn an_echoed_key_is_not_passed_on() {
    let echoes = [
        format!(
            "HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n\r\n{{\"error\":{{\"message\":\"bad key {KEY}\"}}}}"
        ),
        format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\ndata: {{\"error\":{{\"message\":\"{KEY} is broken\"}}}}\n\n"
        ),
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{{\"error\":{{\"message\":\"{KEY}\"}}}}"
        ),
    ];
    for echo in echoes {
        let server = Replay::of(echo.into_bytes()).await;
        let models = registry("openai", &format!("http://{}", server.address), "");
        let (_, fault) = run(&models, "openai", ask("m", "hi")).await;
        let fault = fault.unwrap();
        assert!(format!("{fault:?}").contains("[redacted]"), "{fault:?}");
        assert!(!format!("{fault:?}{:?}", models.status()).contains(KEY));
    }
}

#[tokio::test]
async fn a_page_is_not_a_reply() {
    let page = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n<html>welcome</html>";
    let server = Replay::of(page.to_vec()).await;
    let models = registry("openai", &format!("http://{}", server.address), "");
    let (_, fault) = run(&models, "openai", ask("m", "hi")).await;
    let Some(ModelFault::Garbage { text }) = fault else {
        panic!("{fault:?}")
    };
    assert!(text.contains("base URL"));
}

// covers: R30
#[tokio::test]
async fn a_provider_that_is_down_is_left_alone_after_a_while() {
    let (listener, url) = listen().await;
    drop(listener);
    let models = registry("openai", &url, "[breaker]\nfaults = 2\nrest = '1h'");
    for _ in 0..2 {
        let (_, fault) = run(&models, "openai", ask("m", "hi")).await;
        let Some(ModelFault::Unavailable { text }) = fault else {
            panic!("{fault:?}")
        };
        assert!(text.starts_with("cannot connect to 127.0.0.1:"), "{text}");
    }
    let (_, fault) = run(&models, "openai", ask("m", "hi")).await;
    let Some(ModelFault::Unavailable { text }) = fault else {
        panic!("{fault:?}")
    };
    assert_eq!(text, "it kept failing and rests for 3600 s");
    let status = models.status();
    let openai = status
        .iter()
        .find(|status| status.name == "openai")
        .unwrap();
    assert_eq!(openai.resting, Duration::from_secs(3600));
    assert!(
        openai
            .last_fault
            .as_ref()
            .unwrap()
            .contains("cannot connect")
    );
    assert!(
        status
            .iter()
            .filter(|s| s.name != "openai")
            .all(|s| s.resting.is_zero())
    );
}

#[tokio::test]
async fn an_ollama_is_found_on_its_port() {
    let tags = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\
        {\"models\":[{\"name\":\"qwen3:8b\",\"size\":1},{\"name\":\"llama3.2:latest\"}]}";
    let server = Replay::of(tags.to_vec()).await;
    let models = registry("ollama", &format!("http://{}", server.address), "");
    let found = models.discover().await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].model, "qwen3:8b");
    assert_eq!(found[0].models.len(), 2);
    assert_eq!(server.sent()[0].line, "GET /api/tags HTTP/1.1");
    assert_eq!(models.route("ollama").unwrap().name, "ollama/qwen3:8b");
    assert!(
        models
            .list()
            .iter()
            .any(|model| model.id == "llama3.2:latest" && model.available)
    );
}

#[tokio::test]
async fn without_keys_and_ollama_nothing_is_found() {
    let (listener, url) = listen().await;
    drop(listener);
    let config: adjutant_providers::Config =
        toml::from_str(&format!("[ollama]\nbase_url = '{url}'")).unwrap();
    let models = adjutant_providers::Registry::build(
        &config,
        &|_| None,
        std::sync::Arc::new(support::StillClock),
    )
    .unwrap();
    assert_eq!(models.discover().await, []);
    assert_eq!(models.default_route(), "offline/rules");
}

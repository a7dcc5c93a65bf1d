#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use adjutant_ports::egress::{Egress, EgressError, EgressGrant, Incoming, Outgoing};

use super::{EgressBroker, Resolve};

/// A server that answers every request with the same bytes and remembers the requests.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (Arc::clone(&seen), answer.into());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 8192];
                let n = stream.read(&mut request).await.unwrap_or(0);
                kept.lock()
                    .unwrap()
                    .push(String::from_utf8_lossy(&request[..n]).to_lowercase());
                stream.write_all(&answer).await.ok();
            }
        });
        Self { address, seen }
    }

    fn n_seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn port(&self) -> u16 {
        self.address.port()
    }
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn redirect(to: &str) -> String {
    format!(
        "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
}

/// Gives the next of its answers each time.
struct Scripted {
    answers: Vec<Vec<IpAddr>>,
    n_asked: AtomicUsize,
}

impl Scripted {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let answers = answers
            .iter()
            .map(|it| it.iter().map(|it| it.parse().unwrap()).collect())
            .collect();
        Arc::new(Self {
            answers,
            n_asked: AtomicUsize::new(0),
        })
    }
}

#[async_trait::async_trait]
impl Resolve for Scripted {
    async fn resolve(&self, _host: &str) -> std::io::Result<Vec<IpAddr>> {
        let n = self.n_asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.answers[n.min(self.answers.len() - 1)].clone())
    }
}

fn grant(hosts: &[&str]) -> EgressGrant {
    EgressGrant {
        private_hosts: hosts.iter().map(|it| (*it).to_owned()).collect(),
        ..EgressGrant::default()
    }
}

async fn get(
    broker: &EgressBroker,
    url: &str,
    grant: &EgressGrant,
) -> Result<Incoming, EgressError> {
    broker
        .get(
            Outgoing {
                url: url.to_owned(),
                headers: vec![("x-note".into(), "mine".into())],
            },
            grant,
        )
        .await
}

fn refused(result: &Result<Incoming, EgressError>) -> bool {
    matches!(result, Err(EgressError::Refused { .. }))
}

#[tokio::test]
async fn a_granted_private_host_is_reached_and_the_body_comes_back() {
    let server = Server::start(ok("hello")).await;
    let broker = EgressBroker::new(vec![]);
    let url = format!("http://{}/a?b#c", server.address);
    let answer = get(&broker, &url, &grant(&[&server.address.to_string()]))
        .await
        .unwrap();
    assert_eq!(
        (answer.status, &answer.body[..], answer.truncated),
        (200, &b"hello"[..], false)
    );
    assert_eq!(answer.content_type.as_deref(), Some("text/plain"));
    let seen = server.seen.lock().unwrap().join("");
    assert!(
        seen.starts_with("get /a?b http/1.1") && seen.contains("x-note: mine"),
        "{seen}"
    );
}

// covers: S37, D21
#[tokio::test]
async fn nothing_is_sent_to_an_address_that_is_not_public() {
    let server = Server::start(ok("secret")).await;
    let broker = EgressBroker::new(vec![]);
    let port = server.port();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "localhost",
        "0",
        "[::ffff:127.0.0.1]",
        "[::1]",
    ] {
        let result = get(&broker, &format!("http://{host}:{port}/"), &grant(&[])).await;
        assert!(refused(&result), "{host}: {result:?}");
    }
    // A grant is for exactly this host and port.
    for other in ["127.0.0.1:1", "localhost:80", "127.0.0.1"] {
        assert!(
            refused(
                &get(
                    &broker,
                    &format!("http://127.0.0.1:{port}/"),
                    &grant(&[other])
                )
                .await
            ),
            "{other}"
        );
    }
    assert_eq!(server.n_seen(), 0);
}

// covers: S37
#[tokio::test]
async fn a_redirect_to_a_private_address_is_refused() {
    let inner = Server::start(ok("secret")).await;
    for target in [
        format!("http://{}/", inner.address),
        format!("//localhost:{}/", inner.port()),
    ] {
        let outer = Server::start(redirect(&target)).await;
        let broker = EgressBroker::new(vec![]);
        let result = get(
            &broker,
            &format!("http://{}/", outer.address),
            &grant(&[&outer.address.to_string()]),
        )
        .await;
        assert!(refused(&result), "{result:?}");
        assert_eq!(outer.n_seen(), 1);
    }
    assert_eq!(inner.n_seen(), 0);
}

// covers: S37
#[tokio::test]
async fn headers_stay_behind_when_a_redirect_changes_the_origin() {
    let inner = Server::start(ok("there")).await;
    let outer = Server::start(redirect(&format!("http://{}/next", inner.address))).await;
    let broker = EgressBroker::new(vec![]);
    let both = grant(&[&outer.address.to_string(), &inner.address.to_string()]);
    let answer = get(&broker, &format!("http://{}/", outer.address), &both)
        .await
        .unwrap();
    assert_eq!(answer.url, format!("http://{}/next", inner.address));
    assert!(outer.seen.lock().unwrap()[0].contains("x-note"));
    assert!(!inner.seen.lock().unwrap()[0].contains("x-note"));
}

// covers: S37
#[tokio::test]
async fn a_name_is_resolved_once_and_the_vetted_answer_is_used() {
    let server = Server::start(ok("first")).await;
    let name = format!("rebind.example:{}", server.port());
    // The second answer would be refused by nobody, because nobody may ask a second time.
    let resolver = Scripted::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let broker = EgressBroker::with_resolver(vec![], Arc::clone(&resolver) as Arc<dyn Resolve>);
    let answer = get(&broker, &format!("http://{name}/"), &grant(&[&name]))
        .await
        .unwrap();
    assert_eq!(&answer.body[..], b"first");
    assert_eq!(resolver.n_asked.load(Ordering::SeqCst), 1);
}

// covers: S37
#[tokio::test]
async fn one_private_answer_among_public_ones_refuses_the_name() {
    let server = Server::start(ok("secret")).await;
    let url = format!("http://mixed.example:{}/", server.port());
    for answers in [
        &["93.184.216.34", "127.0.0.1"][..],
        &["10.0.0.1"],
        &["2606:4700::1111", "fd00::1"],
    ] {
        let broker = EgressBroker::with_resolver(vec![], Scripted::new(&[answers]));
        let result = get(&broker, &url, &grant(&[])).await;
        assert!(refused(&result), "{answers:?}: {result:?}");
    }
    assert_eq!(server.n_seen(), 0);
}

// covers: S35
#[tokio::test]
async fn the_gateway_itself_is_refused_even_with_a_grant() {
    let server = Server::start(ok("secret")).await;
    let broker = EgressBroker::new(vec![server.port()]);
    for host in ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"] {
        let host = format!("{host}:{}", server.port());
        let result = get(
            &broker,
            &format!("http://{host}/"),
            &grant(&[&host, "[::ffff:7f00:1]"]),
        )
        .await;
        assert!(refused(&result), "{host}: {result:?}");
    }
    assert_eq!(server.n_seen(), 0);
}

#[tokio::test]
async fn addresses_and_headers_that_should_not_exist_are_named() {
    let broker = EgressBroker::new(vec![]);
    for url in [
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://user:pw@example.com/",
        "http://",
        "nonsense",
        "data:,x",
    ] {
        let result = get(&broker, url, &grant(&[])).await;
        assert!(
            matches!(result, Err(EgressError::BadAddress { .. })),
            "{url}: {result:?}"
        );
    }
    for name in [
        "Authorization",
        "cookie",
        "HOST",
        "Proxy-Authorization",
        "Connection",
        "Metadata-Flavor",
        "x y",
    ] {
        let headers = vec![(name.to_owned(), "x".to_owned())];
        let result = broker
            .get(
                Outgoing {
                    url: "http://127.0.0.1:9/".into(),
                    headers,
                },
                &grant(&["127.0.0.1:9"]),
            )
            .await;
        assert!(
            matches!(result, Err(EgressError::BadAddress { .. })),
            "{name}: {result:?}"
        );
    }
    assert!(refused(
        &get(&broker, "http://1.1.1.1:25/", &grant(&[])).await
    ));
}

// covers: R29, R30
#[tokio::test]
async fn bodies_redirect_chains_and_waits_have_bounds() {
    let server = Server::start(ok(&"x".repeat(5000))).await;
    let broker = EgressBroker::new(vec![]);
    let host = server.address.to_string();
    let small = EgressGrant {
        body_bytes_max: 100,
        ..grant(&[&host])
    };
    let answer = get(&broker, &format!("http://{host}/"), &small)
        .await
        .unwrap();
    assert_eq!((answer.body.len(), answer.truncated), (100, true));

    let round = Server::start(redirect("/again")).await;
    let host = round.address.to_string();
    let result = get(&broker, &format!("http://{host}/"), &grant(&[&host])).await;
    assert!(
        matches!(result, Err(EgressError::Failed { .. })),
        "{result:?}"
    );
    assert_eq!(round.n_seen(), 6);

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = silent.local_addr().unwrap().to_string();
    let short = EgressGrant {
        deadline: Duration::from_millis(200),
        ..grant(&[&host])
    };
    let result = get(&broker, &format!("http://{host}/"), &short).await;
    assert!(
        matches!(result, Err(EgressError::TimedOut { .. })),
        "{result:?}"
    );
}

// covers: R29
#[tokio::test]
async fn a_compressed_body_is_not_unpacked() {
    let server = Server::start(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\u{b}",
    )
    .await;
    let host = server.address.to_string();
    let result = get(
        &EgressBroker::new(vec![]),
        &format!("http://{host}/"),
        &grant(&[&host]),
    )
    .await;
    assert!(
        matches!(result, Err(EgressError::Failed { .. })),
        "{result:?}"
    );
    assert!(server.seen.lock().unwrap()[0].contains("accept-encoding: identity"));
}

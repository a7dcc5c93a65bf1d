//! A certificate from an authority: Pebble, the one that Let's Encrypt makes for tests, with a name service of its own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use adjutant_tls::{Config, ConnectError, Fingerprint, Mode, Server, Trust, leaf};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::place::{Place, Running, free_port, listens, program, until};

/// How long a certificate of this authority is valid, in seconds. It is renewed after two thirds.
const VALID_S: u64 = 24;
const PATIENCE: Duration = Duration::from_secs(90);

struct Authority {
    /// Its directory.
    url: String,
    /// Where it tells its root.
    management: u16,
    /// What its own server shows.
    shown: Fingerprint,
    _programs: [Running; 2],
}

impl Authority {
    /// One that looks for every name at `port` of this machine.
    fn open(pebble: &Path, names: &Path, dir: &Path, port: u16) -> Self {
        let made = Config {
            mode: Mode::SelfSigned,
            ..Config::default()
        };
        let shown = Server::open(&made, dir)
            .unwrap()
            .unwrap()
            .leaf()
            .fingerprint;
        let (api, management, dns) = (free_port(), free_port(), free_port());
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{api}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": dir.join("tls/self-signed.pem"),
            "privateKey": dir.join("tls/self-signed.key"),
            "httpPort": free_port(), "tlsPort": port,
            "ocspResponderURL": "", "externalAccountBindingRequired": false,
            "certificateValidityPeriod": VALID_S,
        } });
        let file = dir.join("pebble.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let quiet = |log: &str, command: &mut Command| {
            let child = command
                .stdin(Stdio::null())
                .stdout(std::fs::File::create(dir.join(log)).unwrap())
                .stderr(Stdio::null())
                .spawn();
            Running(child.unwrap())
        };
        let addresses = quiet(
            "names.log",
            Command::new(names).args([
                "-defaultIPv4=127.0.0.1",
                "-defaultIPv6=",
                "-http01=",
                "-https01=",
                "-tlsalpn01=",
                &format!("-dns01=127.0.0.1:{dns}"),
                &format!("-management=127.0.0.1:{}", free_port()),
            ]),
        );
        let authority = quiet(
            "authority.log",
            Command::new(pebble)
                .arg(format!("-config={}", file.display()))
                .arg(format!("-dnsserver=127.0.0.1:{dns}"))
                .env("PEBBLE_VA_NOSLEEP", "1"),
        );
        until("the authority does not start", || {
            (listens(api) && listens(management)).then_some(())
        });
        Self {
            url: format!("https://127.0.0.1:{api}/dir"),
            management,
            shown,
            _programs: [addresses, authority],
        }
    }

    /// What it signs with.
    async fn root(&self) -> Trust {
        let stream = TcpStream::connect(("127.0.0.1", self.management))
            .await
            .unwrap();
        let trust = Trust::Pinned(self.shown.clone());
        let mut stream = adjutant_tls::connect(stream, "localhost", &trust)
            .await
            .unwrap();
        let ask = b"GET /roots/0 HTTP/1.0\r\nHost: localhost\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        Trust::Authorities(vec![
            CertificateDer::from_pem_slice(answer.as_bytes()).unwrap(),
        ])
    }
}

async fn believed(port: u16, name: &str, trust: &Trust) -> Result<(), ConnectError> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    adjutant_tls::connect(stream, name, trust).await.map(drop)
}

async fn in_time(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !look().await {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_certificate_is_got_shown_renewed_and_kept_over_a_restart() {
    let found = (
        program("pebble", "pebble"),
        program("pebble-challtestsrv", "pebble"),
    );
    let (Some(pebble), Some(names)) = found else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let authority = Authority::open(&pebble, &names, dir.path(), port);
    let home = Place::new(&format!(
        "[gateway.tls]\nmode = 'acme'\nnames = ['home.example', 'box.example']\n\
         [gateway.tls.acme]\ndirectory = '{}'\naccept_terms = true\ncontacts = ['ada@home.example']\n\
         authority = '{}'\n",
        authority.url,
        dir.path().join("tls/self-signed.pem").display(),
    ));
    let (gateway, _) = home.gateway_at(port);
    let root = authority.root().await;
    in_time("no certificate is shown", async || {
        believed(port, "home.example", &root).await.is_ok()
    })
    .await;
    believed(port, "box.example", &root).await.unwrap();
    let other = believed(port, "evil.example", &root).await;
    assert!(
        matches!(other, Err(ConnectError::Untrusted { .. })),
        "{other:?}"
    );

    // The second is shown without a restart, before the first has ended.
    let config = Config {
        mode: Mode::Acme,
        ..Config::default()
    };
    let now = || leaf(&config, home.path()).unwrap().unwrap();
    let first = now();
    in_time("it is not renewed", async || now() != first).await;
    assert!(!first.is_expired(std::time::SystemTime::now()));
    let second = Trust::Pinned(now().fingerprint);
    in_time("the renewed one is not shown", async || {
        believed(port, "home.example", &second).await.is_ok()
    })
    .await;

    // Account and certificate lie in the state directory, for their owner alone, and are used again.
    let kept: Vec<_> = std::fs::read_dir(home.path().join("tls"))
        .unwrap()
        .map(|it| it.unwrap())
        .collect();
    assert_eq!(kept.len(), 3, "{kept:?}");
    for file in &kept {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file:?}");
    }
    drop(gateway);
    let before = now();
    let (_gateway, _) = home.gateway_at(port);
    believed(port, "home.example", &Trust::Pinned(before.fingerprint))
        .await
        .unwrap();
}

//! Both ends over a pipe: who is believed, what is said when not, and what happens when files change.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::time::Duration;

use adjutant_tls::{
    CertificateError, Config, ConnectError, Fingerprint, Leaf, Mode, Server, Trust, connect, leaf,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);

fn self_signed(names: &[&str]) -> Config {
    Config {
        mode: Mode::SelfSigned,
        names: names.iter().map(|it| (*it).to_owned()).collect(),
        ..Config::default()
    }
}

/// A certificate of another state directory, as files of one's own.
fn pair(dir: &Path) -> (Config, Leaf) {
    let made = self_signed(&[]);
    Server::open(&made, dir).unwrap().unwrap();
    let config = Config {
        mode: Mode::Files,
        certificate: Some(dir.join("tls/self-signed.pem")),
        key: Some(dir.join("tls/self-signed.key")),
        ..Config::default()
    };
    let leaf = leaf(&config, dir).unwrap().unwrap();
    (config, leaf)
}

async fn greet(server: &Server, host: &str, trust: &Trust) -> Result<(), ConnectError> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let serve = async {
        if let Ok(mut stream) = server.accept(far).await {
            let mut word = [0; 5];
            stream.read_exact(&mut word).await.unwrap();
            stream.write_all(&word).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    };
    let dial = async {
        let mut stream = connect(near, host, trust).await?;
        stream.write_all(b"hello").await.unwrap();
        let mut word = String::new();
        stream.read_to_string(&mut word).await.unwrap();
        assert_eq!(word, "hello");
        Ok(())
    };
    tokio::join!(serve, dial).1
}

#[tokio::test]
async fn the_pinned_certificate_is_believed_whatever_the_name_and_no_other_is() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(&self_signed(&["box.lan"]), dir.path())
        .unwrap()
        .unwrap();
    let seen = server.leaf().fingerprint;
    greet(&server, "elsewhere.example", &Trust::Pinned(seen.clone()))
        .await
        .unwrap();
    let other = Fingerprint::of(b"another");
    let error = greet(&server, "box.lan", &Trust::Pinned(other.clone()))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Mismatch { .. }), "{error:?}");
    let said = error.to_string();
    assert!(
        said.contains(&seen.to_string()) && said.contains(&other.to_string()),
        "{said}"
    );
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_is_refused_without_a_pin_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(&self_signed(&[]), dir.path())
        .unwrap()
        .unwrap();
    let error = greet(&server, "localhost", &Trust::System)
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Untrusted { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains(&server.leaf().fingerprint.to_string())
    );
}

#[tokio::test]
async fn something_that_does_not_speak_tls_is_called_that() {
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .await
        .unwrap();
    let pin = Trust::Pinned(Fingerprint::of(b"any"));
    let error = connect(near, "localhost", &pin).await.unwrap_err();
    assert!(matches!(error, ConnectError::NotTls), "{error:?}");
}

#[tokio::test]
async fn a_certificate_of_our_own_is_made_once_and_its_key_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let config = self_signed(&[]);
    assert_eq!(leaf(&config, dir.path()).unwrap(), None);
    let first = Server::open(&config, dir.path()).unwrap().unwrap().leaf();
    let again = Server::open(&config, dir.path()).unwrap().unwrap().leaf();
    assert_eq!(first, again);
    assert_eq!(leaf(&config, dir.path()).unwrap(), Some(first));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |name: &str| {
            let path = dir.path().join("tls").join(name);
            std::fs::metadata(path).unwrap().permissions().mode() & 0o777
        };
        assert_eq!(mode("self-signed.key"), 0o600);
        assert_eq!(mode(""), 0o700);
    }
}

#[tokio::test]
async fn the_oldest_version_is_one_point_two() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(&self_signed(&[]), dir.path())
        .unwrap()
        .unwrap();
    // A greeting of TLS 1.1: version 3.2 inside, no list of versions, one cipher suite of that time, one signature.
    let mut hello = vec![0x16, 3, 1, 0, 57, 1, 0, 0, 53, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 0x2f, 1, 0, 0, 10, 0, 13, 0, 6, 0, 4, 4, 1, 4, 3]);
    let (mut near, far) = tokio::io::duplex(64 * 1024);
    near.write_all(&hello).await.unwrap();
    let error = tokio::time::timeout(PATIENCE, server.accept(far))
        .await
        .unwrap()
        .unwrap_err();
    assert!(error.to_string().contains("Tls12NotOffered"), "{error}");
}

#[tokio::test]
async fn changed_files_are_shown_without_a_restart_and_broken_ones_change_nothing() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (config, before) = pair(one.path());
    let (other, after) = pair(two.path());
    assert_ne!(before, after);
    let server = Server::open(&config, one.path()).unwrap().unwrap();
    let stop = CancellationToken::new();
    let check = async {
        // The certificate of somebody else with our key: refused, the old one stays.
        std::fs::copy(
            other.certificate.as_ref().unwrap(),
            config.certificate.as_ref().unwrap(),
        )
        .unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(server.leaf(), before);
        greet(&server, "h", &Trust::Pinned(before.fingerprint.clone()))
            .await
            .unwrap();
        std::fs::copy(other.key.as_ref().unwrap(), config.key.as_ref().unwrap()).unwrap();
        let shown = async {
            while server.leaf() != after {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, shown).await.unwrap();
        greet(&server, "h", &Trust::Pinned(after.fingerprint.clone()))
            .await
            .unwrap();
        stop.cancel();
    };
    tokio::join!(server.keep_fresh(&stop), check);
}

#[test]
fn a_pair_that_does_not_fit_and_a_key_for_everybody_are_refused_with_the_file() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut config, _) = pair(one.path());
    let (other, _) = pair(two.path());
    config.key = other.key.clone();
    let said = Server::open(&config, one.path()).err().unwrap().to_string();
    assert!(said.contains("not the key of the certificate"), "{said}");
    config.certificate = other.key;
    let said = Server::open(&config, one.path()).err().unwrap().to_string();
    assert!(said.contains("no certificate in PEM"), "{said}");
    config.certificate = Some(one.path().join("absent.pem"));
    let error = Server::open(&config, one.path()).err().unwrap();
    assert!(error.to_string().contains("absent.pem"), "{error}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let (config, _) = pair(two.path());
        let key = config.key.as_ref().unwrap();
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = Server::open(&config, two.path()).err().unwrap();
        assert!(
            matches!(error, CertificateError::Exposed { mode: 0o644, .. }),
            "{error:?}"
        );
    }
}

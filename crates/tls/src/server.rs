//! The side that listens: which certificate it shows, and when it shows another.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::acme::{self, Asking, Board};
use crate::certificate::{CertificateError, Files, Leaf, Loaded};
use crate::config::{Config, Mode};
use crate::own;

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Pause after an authority gave none; doubled after each. Authorities count failures by the hour.
const ASK_AGAIN_MIN: Duration = Duration::from_secs(300);
/// Longest such pause.
const ASK_AGAIN_MAX: Duration = Duration::from_secs(12 * 3_600);

/// An encrypted stream of the side that listened.
pub type ServerStream<S> = tokio_rustls::server::TlsStream<S>;

/// What a port shows to those who dial.
pub struct Server {
    acceptor: TlsAcceptor,
    shown: Arc<Shown>,
    provider: Arc<CryptoProvider>,
    files: Files,
    renewal: Option<Renewal>,
}

/// A certificate that is asked for.
struct Renewal {
    asking: Asking,
}

impl Server {
    /// Reads the certificate, making one first where that is wanted. None: the configuration wants no TLS.
    ///
    /// TLS 1.2 is the oldest version spoken, HTTP/1.1 the only protocol offered.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn open(config: &Config, state_dir: &Path) -> Result<Option<Self>, CertificateError> {
        let Some(files) = config.files(state_dir) else {
            return Ok(None);
        };
        if config.mode == Mode::SelfSigned {
            own::make_unless_there(&files, &config.names)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // Marks first: a change while they are read is seen at the next look.
        let marks = Marks::of(&files);
        let renewal = (config.mode == Mode::Acme).then(|| Renewal {
            asking: Asking {
                config: config.clone(),
                account_file: config.account_file(state_dir),
                files: files.clone(),
                provider: Arc::clone(&provider),
            },
        });
        let loaded = if renewal.is_some() && !files.exist() {
            // Until the authority has looked, something must be shown: it is believed by nobody.
            let (made, key) = own::make(&config.names)?;
            Loaded::of(&made, &key, &provider)?
        } else {
            files.load(&provider)?
        };
        warn_if_expired(&loaded.leaf);
        let shown = Arc::new(Shown {
            state: RwLock::new(State { loaded, marks }),
            proofs: RwLock::default(),
        });
        let mut tls = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        if renewal.is_some() {
            tls.alpn_protocols.push(acme::PROTOCOL.to_vec());
        }
        Ok(Some(Self {
            acceptor: TlsAcceptor::from(Arc::new(tls)),
            shown,
            provider,
            files,
            renewal,
        }))
    }

    /// Does the handshake. The caller bounds the time.
    ///
    /// # Errors
    /// What went wrong with this client.
    pub async fn accept<S>(&self, stream: S) -> io::Result<ServerStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.acceptor.accept(stream).await?;
        if stream.get_ref().1.alpn_protocol() == Some(acme::PROTOCOL) {
            return Err(io::Error::other("an authority came to look, and has seen"));
        }
        Ok(stream)
    }

    /// The certificate that is shown now.
    #[must_use]
    pub fn leaf(&self) -> Leaf {
        self.shown.read().loaded.leaf.clone()
    }

    /// Shows what lies in the files as soon as it differs, and asks for a certificate where that is wanted and due, until
    /// `stop`. Files that cannot be used change nothing.
    pub async fn keep_fresh(&self, stop: &CancellationToken) {
        let mut ask_at = Some(Instant::now());
        let mut pause = ASK_AGAIN_MIN;
        loop {
            if let Some(renewal) = &self.renewal
                && ask_at.is_none_or(|at| at <= Instant::now())
                && renewal.is_due(&self.leaf(), self.files.exist())
            {
                let Some(asked) = stop
                    .run_until_cancelled(renewal.asking.ask(&*self.shown))
                    .await
                else {
                    return;
                };
                match asked {
                    Ok(()) => (ask_at, pause) = (None, ASK_AGAIN_MIN),
                    Err(error) => {
                        tracing::warn!(%error, again_in = ?pause, "no certificate was got");
                        ask_at = Some(Instant::now() + pause);
                        pause = (pause * 2).min(ASK_AGAIN_MAX);
                    }
                }
                self.look().await;
            }
            let rest = tokio::time::sleep(LOOK_EVERY);
            if stop.run_until_cancelled(rest).await.is_none() {
                return;
            }
            self.look().await;
        }
    }

    async fn look(&self) {
        let (files, provider) = (self.files.clone(), Arc::clone(&self.provider));
        let before = self.shown.read().marks;
        let read = tokio::task::spawn_blocking(move || {
            let marks = Marks::of(&files);
            (marks != before).then(|| (marks, files.load(&provider)))
        });
        match read.await {
            Ok(Some((marks, Ok(loaded)))) => {
                let (old, new) = (self.leaf(), loaded.leaf.clone());
                self.shown.replace(State { loaded, marks });
                if old != new {
                    tracing::info!(fingerprint = %new.fingerprint, "shows another TLS certificate");
                    warn_if_expired(&new);
                }
            }
            Ok(Some((marks, Err(error)))) => {
                // Half of a pair may have been replaced: said once a change, and looked at again with the next.
                tracing::warn!(%error, "the TLS files changed and cannot be used; the old certificate stays");
                self.shown.note(marks);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the TLS files cannot be looked at"),
        }
    }
}

impl Renewal {
    fn is_due(&self, leaf: &Leaf, stored: bool) -> bool {
        let names = &self.asking.config.names;
        let covered = names
            .iter()
            .all(|name| leaf.names.iter().any(|it| it.eq_ignore_ascii_case(name)));
        !stored || !covered || leaf.is_due(SystemTime::now())
    }
}

fn warn_if_expired(leaf: &Leaf) {
    if leaf.is_expired(SystemTime::now()) {
        tracing::warn!(fingerprint = %leaf.fingerprint, "the TLS certificate has expired");
    }
}

/// Size and time of both files: when these are the same, so is the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Marks([Option<(u64, SystemTime)>; 2]);

impl Marks {
    fn of(files: &Files) -> Self {
        let mark = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.len(), metadata.modified().ok()?))
        };
        Self([mark(&files.certificate), mark(&files.key)])
    }
}

#[derive(Debug)]
struct State {
    loaded: Loaded,
    marks: Marks,
}

/// What is shown now.
#[derive(Debug)]
struct Shown {
    state: RwLock<State>,
    /// By name, for authorities that come to look.
    proofs: RwLock<BTreeMap<String, Arc<CertifiedKey>>>,
}

impl Shown {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn note(&self, marks: Marks) {
        self.state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .marks = marks;
    }
}

impl Board for Shown {
    fn put_up(&self, name: &str, proof: Loaded) {
        self.proofs
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_ascii_lowercase(), proof.certified);
    }

    fn clear(&self) {
        self.proofs
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let looks = hello
            .alpn()
            .is_some_and(|mut it| it.any(|protocol| protocol == acme::PROTOCOL));
        if looks {
            let name = hello.server_name()?.to_ascii_lowercase();
            let proofs = self.proofs.read().unwrap_or_else(PoisonError::into_inner);
            return proofs.get(&name).map(Arc::clone);
        }
        Some(Arc::clone(&self.read().loaded.certified))
    }
}

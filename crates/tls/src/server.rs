//! The side that listens: which certificate it shows, and when it shows another.

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::certificate::{CertificateError, Files, Leaf, Loaded};
use crate::config::{Config, Mode};
use crate::own;

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// An encrypted stream of the side that listened.
pub type ServerStream<S> = tokio_rustls::server::TlsStream<S>;

/// What a port shows to those who dial.
pub struct Server {
    acceptor: TlsAcceptor,
    shown: Arc<Shown>,
    provider: Arc<CryptoProvider>,
    files: Files,
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
        match config.mode {
            Mode::Off | Mode::Files => {}
            Mode::SelfSigned => own::make_unless_there(&files, &config.names)?,
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // Marks first: a change while they are read is seen at the next look.
        let marks = Marks::of(&files);
        let loaded = files.load(&provider)?;
        warn_if_expired(&loaded.leaf);
        let shown = Arc::new(Shown(RwLock::new(State { loaded, marks })));
        let mut tls = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| CertificateError::Content {
                path: files.key.clone(),
                reason: error.to_string(),
            })?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self {
            acceptor: TlsAcceptor::from(Arc::new(tls)),
            shown,
            provider,
            files,
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
        self.acceptor.accept(stream).await
    }

    /// The certificate that is shown now.
    #[must_use]
    pub fn leaf(&self) -> Leaf {
        self.shown.read().loaded.leaf.clone()
    }

    /// Shows what lies in the files as soon as it differs, until `stop`. Files that cannot be used change nothing.
    pub async fn keep_fresh(&self, stop: &CancellationToken) {
        loop {
            let pause = tokio::time::sleep(LOOK_EVERY);
            if stop.run_until_cancelled(pause).await.is_none() {
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
struct Shown(RwLock<State>);

impl Shown {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, state: State) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn note(&self, marks: Marks) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).marks = marks;
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.read().loaded.certified))
    }
}

//! The side that dials: whom it believes.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::fingerprint::Fingerprint;

/// An encrypted stream of the side that dialled.
pub type ClientStream<S> = tokio_rustls::client::TlsStream<S>;

/// Whom the side that dials believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Whom this system believes, for the name that was dialled.
    System,
    /// These authorities and no other, for the name that was dialled.
    Authorities(Vec<CertificateDer<'static>>),
    /// One certificate, whoever signed it and whatever name it carries.
    Pinned(Fingerprint),
}

/// Why there is no encrypted connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host's name cannot stand in a certificate.
    #[error("`{host}` is not a name a certificate can carry")]
    Name {
        /// The name.
        host: String,
    },
    /// The system's certificates cannot be read.
    #[error("this system's certificates cannot be used: {reason}")]
    Roots {
        /// Why.
        reason: String,
    },
    /// Another certificate than the pinned one.
    #[error(
        "the certificate is not the pinned one: it has the fingerprint {seen}, pinned is {pinned}"
    )]
    Mismatch {
        /// What was shown.
        seen: Fingerprint,
        /// What was expected.
        pinned: Fingerprint,
    },
    /// A certificate this system does not believe.
    #[error("the certificate is not trusted here ({reason}); it has the fingerprint {seen}")]
    Untrusted {
        /// What was shown.
        seen: Fingerprint,
        /// Why not.
        reason: String,
    },
    /// What answers does not speak TLS.
    #[error("what answers there does not speak TLS")]
    NotTls,
    /// Anything else.
    #[error("no encrypted connection: {0}")]
    Handshake(#[source] io::Error),
}

/// Encrypts `stream` to `host`.
///
/// # Errors
/// [`ConnectError`]; nothing was sent but the handshake.
pub async fn connect<S>(
    stream: S,
    host: &str,
    trust: &Trust,
) -> Result<ClientStream<S>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(host.to_owned()).map_err(|_odd| ConnectError::Name {
        host: host.to_owned(),
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let judge = Arc::new(Judge::new(trust, &provider)?);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectError::Handshake(io::Error::other(error)))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&judge) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let connected = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await;
    connected.map_err(|error| judge.explain(trust, error))
}

/// Judges a certificate and remembers which it was, so that a refusal can name it.
#[derive(Debug)]
struct Judge {
    /// None: the pinned one alone.
    authorities: Option<Arc<dyn ServerCertVerifier>>,
    pinned: Option<Fingerprint>,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Fingerprint>>,
}

impl Judge {
    fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Self, ConnectError> {
        let unusable = |reason: String| ConnectError::Roots { reason };
        let (authorities, pinned): (Option<Arc<dyn ServerCertVerifier>>, _) = match trust {
            Trust::Pinned(fingerprint) => (None, Some(fingerprint.clone())),
            Trust::System => {
                let verifier = rustls_platform_verifier::Verifier::new(Arc::clone(provider))
                    .map_err(|error| unusable(error.to_string()))?;
                (Some(Arc::new(verifier)), None)
            }
            Trust::Authorities(known) => {
                let mut roots = RootCertStore::empty();
                let (_, n_ignored) = roots.add_parsable_certificates(known.iter().cloned());
                if 0 < n_ignored {
                    return Err(unusable("a certificate among them is none".to_owned()));
                }
                let built = WebPkiServerVerifier::builder_with_provider(
                    Arc::new(roots),
                    Arc::clone(provider),
                );
                let verifier = built.build().map_err(|error| unusable(error.to_string()))?;
                (Some(verifier), None)
            }
        };
        Ok(Self {
            authorities,
            pinned,
            provider: Arc::clone(provider),
            seen: Mutex::default(),
        })
    }

    fn explain(&self, trust: &Trust, error: io::Error) -> ConnectError {
        let said = error
            .get_ref()
            .and_then(|it| it.downcast_ref::<rustls::Error>());
        let seen = self
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match (said, seen, trust) {
            (Some(rustls::Error::InvalidMessage(_)), None, _) => ConnectError::NotTls,
            (
                Some(rustls::Error::InvalidCertificate(why)),
                Some(seen),
                Trust::System | Trust::Authorities(_),
            ) => ConnectError::Untrusted {
                seen,
                reason: why.to_string(),
            },
            (Some(rustls::Error::InvalidCertificate(_)), Some(seen), Trust::Pinned(pinned))
                if seen != *pinned =>
            {
                ConnectError::Mismatch {
                    seen,
                    pinned: pinned.clone(),
                }
            }
            _ => ConnectError::Handshake(error),
        }
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = Fingerprint::of(end_entity);
        let right = self.pinned.as_ref() == Some(&shown);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        match &self.authorities {
            Some(authorities) => authorities.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            None if right => Ok(ServerCertVerified::assertion()),
            None => Err(rustls::Error::InvalidCertificate(
                rustls::CertificateError::ApplicationVerificationFailure,
            )),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

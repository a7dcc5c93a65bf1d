//! A certificate from an authority, by ACME (RFC 8555).
//!
//! The authority dials the name on port 443 and wants to see a certificate that only the holder of the account can make
//! (TLS-ALPN-01, RFC 8737). So nothing but the port itself is needed: no web server, no entry in the name system.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType,
    HttpClient, Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::CryptoProvider;
use tokio::net::TcpStream;

use crate::certificate::{self, CertificateError, Files, Loaded};
use crate::config::Config;
use crate::dial::{Trust, connect};

/// The protocol by which an authority says that it comes to look. Source: RFC 8737, section 3.
pub(crate) const PROTOCOL: &[u8] = b"acme-tls/1";

/// How long one question to the authority may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer of the authority.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long the authority may take to look and to sign.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcmeError {
    /// The authority refused, or cannot be reached.
    #[error("the authority gives no certificate: {0}")]
    Authority(#[from] instant_acme::Error),
    /// It looked and did not find.
    #[error("the authority did not find this gateway at port 443 of the names: {0}")]
    NotFound(String),
    /// It does not offer the one way that is known here.
    #[error("the authority does not offer TLS-ALPN-01 for `{0}`")]
    NoChallenge(String),
    /// Something on disk.
    #[error(transparent)]
    Files(#[from] CertificateError),
    /// A certificate for the authority's eyes could not be made.
    #[error("no certificate for the authority's eyes: {0}")]
    Make(#[from] rcgen::Error),
    /// It cannot be shown.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The account on disk is none.
    #[error("the account in `{}` cannot be used: {reason}; remove it to make another", path.display())]
    Account {
        /// Where.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// Where proofs are shown while the authority looks.
pub(crate) trait Board: Send + Sync {
    /// Shows `proof` to whoever comes as an authority for `name`.
    fn put_up(&self, name: &str, proof: Loaded);
    /// Shows nothing of that kind any more.
    fn clear(&self);
}

/// What is needed to ask.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    pub(crate) config: Config,
    pub(crate) account_file: PathBuf,
    pub(crate) files: Files,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl Asking {
    /// Gets a certificate for all names and stores it.
    pub(crate) async fn ask(&self, board: &dyn Board) -> Result<(), AcmeError> {
        let asked = self.order(board).await;
        board.clear();
        let (certificate, key) = asked?;
        Ok(self.files.store(&certificate, &key)?)
    }

    async fn order(&self, board: &dyn Board) -> Result<(String, String), AcmeError> {
        let account = self.account().await?;
        let names = self.config.names.iter().cloned();
        let names: Vec<Identifier> = names.map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&names)).await?;
        let mut proofs = order.authorizations();
        while let Some(proof) = proofs.next().await {
            let mut proof = proof?;
            if proof.status == AuthorizationStatus::Valid {
                continue;
            }
            let name = proof.identifier().to_string();
            let Some(mut challenge) = proof.challenge(ChallengeType::TlsAlpn01) else {
                return Err(AcmeError::NoChallenge(name));
            };
            let digest = challenge.key_authorization().digest();
            board.put_up(&name, self.proof(&name, digest.as_ref())?);
            challenge.set_ready().await?;
        }
        if order.poll_ready(&PATIENCE).await? != OrderStatus::Ready {
            return Err(AcmeError::NotFound(self.config.names.join(", ")));
        }
        let key = order.finalize().await?;
        let certificate = order.poll_certificate(&PATIENCE).await?;
        Ok((certificate, key))
    }

    fn proof(&self, name: &str, digest: &[u8]) -> Result<Loaded, AcmeError> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate()?;
        let made = params.self_signed(&key)?;
        Ok(Loaded::of(&made, &key, &self.provider)?)
    }

    /// The account of before, or a new one.
    async fn account(&self) -> Result<Account, AcmeError> {
        let trust = match &self.config.acme.authority {
            Some(path) => Trust::Authorities(certificate::authorities(path)?),
            None => Trust::System,
        };
        let asks = || Account::builder_with_http(Box::new(Courier(trust.clone())));
        let path = &self.account_file;
        if path.exists() {
            let unusable = |reason: String| AcmeError::Account {
                path: path.clone(),
                reason,
            };
            let credentials: AccountCredentials = serde_json::from_slice(&certificate::read(path)?)
                .map_err(|error| unusable(error.to_string()))?;
            return Ok(asks().from_credentials(credentials).await?);
        }
        let contacts = self.config.acme.contacts.iter();
        let contacts: Vec<String> = contacts.map(|it| format!("mailto:{it}")).collect();
        let contacts: Vec<&str> = contacts.iter().map(String::as_str).collect();
        let wanted = NewAccount {
            contact: &contacts,
            terms_of_service_agreed: self.config.acme.accept_terms,
            only_return_existing: false,
        };
        let directory = self.config.acme.directory.clone();
        let (account, credentials) = asks().create(&wanted, directory, None).await?;
        let text = serde_json::to_vec(&credentials).map_err(instant_acme::Error::from)?;
        certificate::write(path, &text)?;
        Ok(account)
    }
}

/// Carries questions to the authority, a connection each: there are a dozen in two months.
struct Courier(Trust);

type Answer = Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>>;
type Failure = Box<dyn std::error::Error + Send + Sync>;

impl HttpClient for Courier {
    fn request(&self, question: Request<BodyWrapper<Bytes>>) -> Answer {
        let trust = self.0.clone();
        Box::pin(async move {
            match tokio::time::timeout(QUESTION_TIMEOUT, carry(question, &trust)).await {
                Ok(answered) => answered.map_err(instant_acme::Error::Other),
                Err(late) => Err(instant_acme::Error::Other(Box::new(late))),
            }
        })
    }
}

async fn carry(
    mut question: Request<BodyWrapper<Bytes>>,
    trust: &Trust,
) -> Result<BytesResponse, Failure> {
    let uri = question.uri().clone();
    let (Some("https"), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(format!("`{uri}` is not an address with https").into());
    };
    let bare = host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((bare, uri.port_u16().unwrap_or(443))).await?;
    let stream = connect(stream, bare, trust).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let authority = uri.authority().map_or(host, |it| it.as_str());
    let value = http::HeaderValue::from_str(authority)?;
    question.headers_mut().insert(header::HOST, value);
    let path = uri.path_and_query().map_or("/", |it| it.as_str());
    *question.uri_mut() = path.parse::<Uri>()?;
    let exchange = async {
        let answer = sender.send_request(question).await?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
        let whole = http::Response::from_parts(parts, Full::new(body.to_bytes()));
        Ok::<_, Failure>(BytesResponse::from(whole))
    };
    // The connection is driven beside the exchange and dropped with it.
    tokio::select! {
        answered = exchange => answered,
        ended = connection => Err(match ended {
            Ok(()) => "the authority hung up".into(),
            Err(error) => error.into(),
        }),
    }
}

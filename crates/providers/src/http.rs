//! The HTTP clients all providers share: pooled, impatient, and never following a redirect with a key (R30, S47).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Client, ClientBuilder, redirect};
use rustls::crypto::{CryptoProvider, ring};
use url::Url;

use adjutant_domain::run::ModelFault;

use crate::endpoint::is_loopback;

/// How long an unused connection is kept.
const POOL_IDLE: Duration = Duration::from_secs(90);

/// How long what may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    /// From dialling to a connection.
    pub(crate) connect: Duration,
    /// From sending to the first byte of the reply's body.
    pub(crate) first_byte: Duration,
    /// Between two pieces of the body.
    pub(crate) idle: Duration,
    /// The whole exchange.
    pub(crate) total: Duration,
}

/// Clients by kind of address, made when first needed: reading the machine's root certificates costs more than the
/// rest of a start.
pub(crate) struct Http {
    connect: Duration,
    local: Slot,
    local_tls: Slot,
    remote: Slot,
}

type Slot = OnceLock<Result<Client, String>>;

impl Http {
    pub(crate) fn new(connect: Duration) -> Self {
        Self {
            connect,
            local: Slot::new(),
            local_tls: Slot::new(),
            remote: Slot::new(),
        }
    }

    /// The client for `url`. Proxies of the environment count for other machines only.
    ///
    /// # Errors
    /// [`ModelFault::Unavailable`] when TLS cannot be set up here.
    pub(crate) fn client(&self, url: &Url) -> Result<&Client, ModelFault> {
        let made = match (is_loopback(url), url.scheme()) {
            (true, "http") => self.local.get_or_init(|| {
                // Nothing encrypted is ever dialled with this one, so that it trusts nobody.
                let config =
                    rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                        .with_safe_default_protocol_versions()
                        .map_err(|error| error.to_string())?
                        .with_root_certificates(rustls::RootCertStore::empty())
                        .with_no_client_auth();
                finish(
                    self.builder()
                        .no_proxy()
                        .http1_only()
                        .tls_backend_preconfigured(config),
                )
            }),
            (true, _) => self.local_tls.get_or_init(|| {
                install_crypto();
                finish(self.builder().no_proxy())
            }),
            (false, _) => self.remote.get_or_init(|| {
                install_crypto();
                finish(self.builder())
            }),
        };
        made.as_ref().map_err(|reason| ModelFault::Unavailable {
            text: format!("no connection can be made from here: {reason}"),
        })
    }

    fn builder(&self) -> ClientBuilder {
        Client::builder()
            .user_agent(concat!("adjutant/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.connect)
            .pool_idle_timeout(POOL_IDLE)
            .tcp_nodelay(true)
    }
}

fn finish(builder: ClientBuilder) -> Result<Client, String> {
    builder.build().map_err(|error| innermost(&error))
}

/// One crypto back end for the process; whoever comes first installs it.
fn install_crypto() {
    if CryptoProvider::get_default().is_none()
        && ring::default_provider().install_default().is_err()
    {
        tracing::debug!("another part of the program installed the crypto provider first");
    }
}

/// What is behind an error, without the address it happened at.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// What a failed request means.
pub(crate) fn fault_of(error: &reqwest::Error, url: &Url) -> ModelFault {
    if error.is_timeout() {
        return ModelFault::TimedOut;
    }
    if error.is_connect() {
        let host = url.host_str().unwrap_or("the server");
        let port = url.port_or_known_default().unwrap_or(0);
        return ModelFault::Unavailable {
            text: format!("cannot connect to {host}:{port}: {}", innermost(error)),
        };
    }
    if error.is_builder() {
        return ModelFault::Rejected {
            text: innermost(error),
        };
    }
    ModelFault::Cut
}

//! The network broker: the only way out for callers that go where a model sends them (S36, S37, D21).
//!
//! A name is resolved once, every answer is vetted, and the connection goes to exactly the vetted answers. Redirects are
//! followed by hand: each is a new request with a new vetting, and what the caller added stays behind when the origin
//! changes. No proxy from the environment, no credentials, no cookies, no decompression.

mod address;
mod rules;

pub use address::is_global;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Once};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use url::{Host, Url};

use adjutant_ports::egress::{Egress, EgressError, EgressGrant, Incoming, Outgoing};

/// How long one connection attempt may take; the grant bounds the whole.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Most answers of one resolution that are used.
const ADDRESSES_MAX: usize = 16;

/// Longest chain of redirects, whatever the grant says. Source: the fetch standard allows 20.
const REDIRECTS_MAX: u32 = 20;

/// Turns a name into addresses.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// All addresses of `host`, in order of preference.
    ///
    /// # Errors
    /// The error of the resolver.
    async fn resolve(&self, host: &str) -> std::io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0))
            .await?
            .map(|it| it.ip())
            .collect())
    }
}

/// The network broker.
pub struct EgressBroker {
    resolver: Arc<dyn Resolve>,
    own_ports: Vec<u16>,
    /// How long the first byte and each further piece may take.
    idle_max: Duration,
}

impl std::fmt::Debug for EgressBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EgressBroker")
            .field("own_ports", &self.own_ports)
            .finish_non_exhaustive()
    }
}

impl EgressBroker {
    /// `own_ports` are the ports this gateway listens on: no grant opens them on any address of this machine (S35).
    #[must_use]
    pub fn new(own_ports: Vec<u16>) -> Self {
        Self::with_resolver(own_ports, Arc::new(SystemResolver))
    }

    /// The same with another resolver.
    #[must_use]
    pub fn with_resolver(own_ports: Vec<u16>, resolver: Arc<dyn Resolve>) -> Self {
        // Only the first call has an effect, and another provider that the process chose is as good.
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        Self {
            resolver,
            own_ports,
            idle_max: Duration::from_secs(15),
        }
    }

    async fn follow(
        &self,
        request: Outgoing,
        grant: &EgressGrant,
    ) -> Result<Incoming, EgressError> {
        let mut url = rules::parse(&request.url)?;
        let mut headers = rules::headers(&request.headers)?;
        let redirects_max = grant.redirects_max.min(REDIRECTS_MAX);
        for _ in 0..=redirects_max {
            let response = self.ask(&url, &headers, grant).await?;
            let Some(next) = rules::redirect(&url, &response)? else {
                return receive(url, response, grant).await;
            };
            if next.origin() != url.origin() {
                headers.clear();
            }
            url = next;
        }
        Err(EgressError::Failed {
            reason: format!("more than {redirects_max} redirects"),
        })
    }

    /// One request to vetted addresses; a redirect comes back as it is.
    async fn ask(
        &self,
        url: &Url,
        headers: &HeaderMap,
        grant: &EgressGrant,
    ) -> Result<reqwest::Response, EgressError> {
        let (name, addresses) = self.vet(url, grant).await?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_MAX)
            .read_timeout(self.idle_max)
            .user_agent(concat!("adjutant/", env!("CARGO_PKG_VERSION")))
            .resolve_to_addrs(&name, &addresses)
            .build()
            .map_err(|error| EgressError::Failed {
                reason: format!("no client could be made on this machine: {error}"),
            })?;
        let mut headers = headers.clone();
        headers.insert(
            reqwest::header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        let sent = client.get(url.clone()).headers(headers).send().await;
        sent.map_err(|error| rules::failed(&error))
    }

    /// Resolves the host of `url` once and vets every answer.
    async fn vet(
        &self,
        url: &Url,
        grant: &EgressGrant,
    ) -> Result<(String, Vec<SocketAddr>), EgressError> {
        let bad = |reason: &str| EgressError::BadAddress {
            reason: reason.to_owned(),
        };
        let host = url.host().ok_or_else(|| bad("it names no host"))?;
        let port = url
            .port_or_known_default()
            .ok_or_else(|| bad("it names no port"))?;
        let name = host.to_string();
        let refused = |reason: &str| EgressError::Refused {
            host: name.clone(),
            reason: reason.to_owned(),
        };
        let is_granted = rules::is_granted(&name, port, grant);
        if !is_granted && rules::is_odd_port(port) {
            return Err(refused("this port does not belong to a web server"));
        }
        let mut found = match host {
            Host::Ipv4(it) => vec![IpAddr::V4(it)],
            Host::Ipv6(it) => vec![IpAddr::V6(it)],
            Host::Domain(it) => {
                self.resolver
                    .resolve(it)
                    .await
                    .map_err(|error| EgressError::Failed {
                        reason: format!("the name `{it}` could not be resolved: {}", error.kind()),
                    })?
            }
        };
        found.truncate(ADDRESSES_MAX);
        if found.is_empty() {
            return Err(EgressError::Failed {
                reason: format!("the name `{name}` has no address"),
            });
        }
        if self.own_ports.contains(&port) && found.iter().any(|it| rules::is_this_machine(*it)) {
            return Err(refused("this is the gateway itself"));
        }
        // One bad answer spoils all: an attacker's name may mix them and hope for a retry.
        if !is_granted && !found.iter().all(|it| is_global(*it)) {
            return Err(refused("it is not on the public internet"));
        }
        Ok((
            name,
            found
                .into_iter()
                .map(|it| SocketAddr::new(it, port))
                .collect(),
        ))
    }
}

#[async_trait]
impl Egress for EgressBroker {
    async fn get(&self, request: Outgoing, grant: &EgressGrant) -> Result<Incoming, EgressError> {
        let after = grant.deadline;
        let answer = tokio::time::timeout(after, self.follow(request, grant)).await;
        answer.unwrap_or(Err(EgressError::TimedOut { after }))
    }
}

/// Reads the body up to the grant's bound.
async fn receive(
    url: Url,
    mut response: reqwest::Response,
    grant: &EgressGrant,
) -> Result<Incoming, EgressError> {
    rules::refuse_encoded(&response)?;
    let content_type = response.headers().get(reqwest::header::CONTENT_TYPE);
    let content_type = content_type
        .and_then(|it| it.to_str().ok())
        .map(str::to_owned);
    let status = response.status().as_u16();
    let room = usize::try_from(grant.body_bytes_max).unwrap_or(usize::MAX);
    let mut body = BytesMut::new();
    let mut truncated = false;
    while let Some(piece) = response
        .chunk()
        .await
        .map_err(|error| rules::failed(&error))?
    {
        let fits = room.saturating_sub(body.len()).min(piece.len());
        body.extend_from_slice(piece.get(..fits).unwrap_or_default());
        if fits < piece.len() {
            truncated = true;
            break;
        }
    }
    Ok(Incoming {
        url: url.into(),
        status,
        content_type,
        body: Bytes::from(body),
        truncated,
    })
}

#[cfg(test)]
mod tests;

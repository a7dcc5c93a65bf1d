//! Finding a gateway: the one that was named, the one that runs here, or one of the occasion.

use std::any::Any;
use std::ops::Deref;

use adjutant_client::{Client, Credential, Endpoint, Fingerprint};
use adjutant_domain::id::ClientKey;
use adjutant_protocol::methods::agents::AgentsList;
use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::models::ModelsStatus;

use crate::args::RouteArgs;
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::host::{EphemeralOptions, Reachable, RouteChoice, Workers};
use crate::terminal::Form;

/// What a command needs from a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// Runs are carried out.
    Runs,
    /// Data is read and written.
    Data,
    /// The one that runs, or none.
    Running,
}

/// A gateway that can be called.
pub(crate) struct Connection {
    client: Client,
    pub(crate) kind: Kind,
    /// Keeps a gateway of the occasion alive.
    _guard: Option<Box<dyn Any + Send + Sync>>,
}

/// Which gateway it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It ran before.
    Standing,
    /// It was started in this process.
    Ephemeral,
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Connection {
    /// For data: the gateway that runs, or one of the occasion without workers.
    pub(crate) async fn for_data(cx: &Cx<'_>) -> Result<Self, Failure> {
        Self::open(cx, &Need::Data, &RouteChoice::default()).await
    }

    /// For runs, with another route than configured if one is named.
    pub(crate) async fn for_runs(cx: &Cx<'_>, route: &RouteArgs) -> Result<Self, Failure> {
        let choice = RouteChoice {
            provider: route.provider.clone(),
            model: route.model.clone(),
            base_url: route.base_url.clone(),
        };
        let open = Self::open(cx, &Need::Runs, &choice).await?;
        if open.kind == Kind::Standing && choice.base_url.is_some() {
            return Err(Failure::new(
                Exit::Conflict,
                "CONFLICT",
                "`--base-url` needs a gateway of its own, and one is running here",
            )
            .with_hint(
                "stop it with `adjutant gateway stop`, or put the address into its configuration",
            ));
        }
        Ok(open)
    }

    /// The gateway that runs.
    pub(crate) async fn to_running(cx: &Cx<'_>) -> Result<Self, Failure> {
        Self::open(cx, &Need::Running, &RouteChoice::default()).await
    }

    async fn open(cx: &Cx<'_>, need: &Need, route: &RouteChoice) -> Result<Self, Failure> {
        let standing = |client| Self {
            client,
            kind: Kind::Standing,
            _guard: None,
        };
        if let Some(address) = &cx.global.gateway {
            // Only a credential given for this call goes there: never a stored one (S6).
            let credential = match given_credential(cx)? {
                Some(credential) => credential,
                None => std::env::var("ADJUTANT_GATEWAY_TOKEN")
                    .ok()
                    .filter(|token| !token.is_empty())
                    .map_or(Credential::None, Credential::token),
            };
            return Ok(standing(
                Client::connect(endpoint(cx, address)?, credential).await?,
            ));
        }
        if let Some(found) = cx.host.local_gateway().await? {
            return Ok(standing(reach(cx, found).await?));
        }
        let workers = match need {
            Need::Runs => Workers::Here,
            Need::Data => Workers::None,
            Need::Running => {
                return Err(Failure::new(
                    Exit::Unreachable,
                    "UNREACHABLE",
                    "no gateway is running here",
                )
                .with_hint("start one with `adjutant gateway start`"));
            }
        };
        let ephemeral = cx
            .host
            .ephemeral_gateway(EphemeralOptions {
                workers,
                route: route.clone(),
            })
            .await?;
        let client =
            Client::connect(ephemeral.gateway.endpoint, ephemeral.gateway.credential).await?;
        Ok(Self {
            client,
            kind: Kind::Ephemeral,
            _guard: Some(ephemeral.guard),
        })
    }

    /// The session key as events carry it, for programs that compare them.
    pub(crate) async fn whole_session_key(
        &self,
        cx: &Cx<'_>,
        key: String,
    ) -> Result<String, Failure> {
        if cx.terminal.form == Form::Human || key.starts_with("agent:") {
            return Ok(key);
        }
        let agent = self.call::<AgentsList>(NoParams {}).await?.default_id;
        Ok(format!("agent:{agent}:{key}"))
    }

    /// `provider/model` for a session, if the command line names a route.
    pub(crate) async fn session_model(
        &self,
        cx: &Cx<'_>,
        route: &RouteArgs,
    ) -> Result<Option<String>, Failure> {
        if route == &RouteArgs::default() {
            return Ok(None);
        }
        if self.kind == Kind::Ephemeral {
            // The gateway of the occasion was started with this route as its default.
            return Ok(Some(self.call::<ModelsStatus>(NoParams {}).await?.default));
        }
        let default = self.call::<ModelsStatus>(NoParams {}).await?.default;
        match (&route.provider, &route.model) {
            (Some(provider), Some(model)) => Ok(Some(format!("{provider}/{model}"))),
            (Some(provider), None) => {
                let found = cx.host.discover_providers().await?;
                let model = found
                    .iter()
                    .find(|it| it.name == *provider)
                    .and_then(|it| it.default_model.clone());
                model
                    .map(|model| Some(format!("{provider}/{model}")))
                    .ok_or_else(|| {
                        Failure::usage(format!("no model is known for the provider `{provider}`"))
                            .with_hint("name one with `--model`")
                    })
            }
            (None, Some(model)) if model.contains('/') => Ok(Some(model.clone())),
            (None, Some(model)) => {
                let provider = default.split('/').next().unwrap_or_default();
                Ok(Some(format!("{provider}/{model}")))
            }
            (None, None) => Ok(None),
        }
    }
}

/// Connects to a gateway of this state directory.
pub(crate) async fn reach(cx: &Cx<'_>, found: Reachable) -> Result<Client, Failure> {
    let credential = given_credential(cx)?.unwrap_or(found.credential);
    Ok(Client::connect(found.endpoint, credential).await?)
}

/// The gateway that was named, with what is pinned for it: by a flag, else by the configuration.
fn endpoint(cx: &Cx<'_>, address: &str) -> Result<Endpoint, Failure> {
    let endpoint = Endpoint::parse(address)?;
    if let Some(text) = &cx.global.tls_fingerprint {
        let fingerprint = Fingerprint::parse(text)
            .ok_or_else(|| Failure::usage("`--tls-fingerprint` must be 64 hex digits"))?;
        return Ok(endpoint.pinned(fingerprint)?);
    }
    match cx.host.pin_of(&endpoint)? {
        Some(fingerprint) => Ok(endpoint.pinned(fingerprint)?),
        None => Ok(endpoint),
    }
}

fn given_credential(cx: &Cx<'_>) -> Result<Option<Credential>, Failure> {
    let Some(path) = &cx.global.token_file else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::io(
            format!("cannot read the token file `{}`", path.display()),
            &error,
        )
    })?;
    let token = text.trim();
    if token.is_empty() {
        return Err(Failure::usage(format!(
            "the token file `{}` is empty",
            path.display()
        )));
    }
    Ok(Some(Credential::token(token)))
}

/// A fresh idempotency key.
pub(crate) fn fresh_key() -> Result<ClientKey, Failure> {
    ClientKey::parse(format!("cli-{}", fresh_word()))
        .map_err(|error| Failure::new(Exit::Failed, "INTERNAL", error.to_string()))
}

/// A word nobody else has: the hasher's keys come from the operating system's entropy.
pub(crate) fn fresh_word() -> String {
    use std::hash::{BuildHasher as _, RandomState};

    let half = || RandomState::new().hash_one(std::process::id());
    let moment = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |span| span.as_nanos());
    // `RandomState` takes its keys once per thread and counts up; the moment keeps processes apart beyond doubt.
    format!("{moment:x}-{:016x}{:016x}", half(), half())
}

/// The session a command line means: the one that is named, or a fresh one.
pub(crate) fn session_key(
    session: Option<&str>,
    agent: Option<&str>,
    otherwise: &str,
) -> Result<String, Failure> {
    let rest = session.unwrap_or(otherwise);
    let Some(agent) = agent else {
        return Ok(rest.to_owned());
    };
    match rest.strip_prefix("agent:").map(|it| it.split(':').next()) {
        None => Ok(format!("agent:{agent}:{rest}")),
        Some(owner) if owner == Some(agent) => Ok(rest.to_owned()),
        Some(_other) => Err(Failure::usage(format!(
            "the session `{rest}` belongs to another agent than `{agent}`"
        ))
        .with_hint("leave out `--agent`, or name another session")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_keys_are_completed_with_the_agent() {
        let key = |session, agent| session_key(session, agent, "main").map_err(|it| it.exit);
        assert_eq!(key(None, None).as_deref(), Ok("main"));
        assert_eq!(key(None, Some("a")).as_deref(), Ok("agent:a:main"));
        assert_eq!(key(Some("x"), Some("a")).as_deref(), Ok("agent:a:x"));
        assert_eq!(
            key(Some("agent:a:x"), Some("a")).as_deref(),
            Ok("agent:a:x")
        );
        assert_eq!(key(Some("agent:b:x"), Some("a")), Err(Exit::Usage));
    }

    #[test]
    fn fresh_words_differ() {
        assert_ne!(fresh_word(), fresh_word());
        assert!(fresh_key().is_ok_and(|key| key.as_str() != "cli-"));
    }
}

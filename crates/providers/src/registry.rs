//! All providers of an installation behind one door.
//!
//! A key belongs to an address (S47): it comes from the reference beside that address, or from the provider's usual
//! environment variable, and is only ever sent to that provider's base URL. Moving the base URL moves the key only
//! because the same person set both. Redirects are not followed.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use url::Url;

use adjutant_domain::money::Price;
use adjutant_ports::Clock;
use adjutant_ports::provider::{ModelInfo, Models, Provider, ProviderStatus, Route};

use crate::breaker::Breaker;
use crate::catalogue::{Catalogue, listed_as};
use crate::config::{Config, Custom, Finding, KeyReference, PriceOverride};
use crate::discover::{self, Discovered};
use crate::endpoint::base_url;
use crate::http::{Deadlines, Http};
use crate::kind::{BUILT_IN, Kind};
use crate::offline::{self, Offline};
use crate::remote::RemoteProvider;
use crate::secret::Key;
use crate::wire::{Dialect, OpenAi, Wire};

/// Longest key file that is read.
const KEY_BYTES_MAX: u64 = 16 << 10;

/// Why no registry can be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The section makes no sense; every finding has its place.
    #[error("{}", .0.iter().map(|f| format!("providers.{}: {}", f.key, f.message)).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Finding>),
}

/// All providers of an installation.
pub struct Registry {
    /// In the order in which a default is looked for; the offline responder is not among them.
    remotes: Vec<Known>,
    offline: Arc<dyn Provider>,
    default: Option<String>,
    fallbacks: Vec<String>,
    prices: BTreeMap<String, PriceOverride>,
    http: Arc<Http>,
    /// What the Ollama said it has, when it was last asked.
    ollama_models: Mutex<Vec<String>>,
}

/// One provider and what is known about it.
struct Known {
    name: String,
    kind: Option<Kind>,
    model: Option<String>,
    context_tokens: Option<u32>,
    access: Access,
    provider: Arc<RemoteProvider>,
}

/// Whether a provider can be asked.
enum Access {
    /// No key is needed.
    Open,
    /// A key is at hand, found as the phrase says.
    Key(String),
    /// It cannot, and what would help.
    Closed(String),
}

impl Access {
    fn is_open(&self) -> bool {
        !matches!(self, Self::Closed(_))
    }
}

impl Registry {
    /// Makes all providers of `config`, with keys from their references or from `env`. Contacts nobody.
    ///
    /// # Errors
    /// [`BuildError`] when the section makes no sense. A missing key is not an error: its provider is not configured.
    pub fn build(
        config: &Config,
        env: &dyn Fn(&str) -> Option<String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, BuildError> {
        let findings = config.check();
        if !findings.is_empty() {
            return Err(BuildError::Invalid(findings));
        }
        let deadlines = Deadlines {
            connect: config.connect_timeout.duration(),
            first_byte: config.first_byte_timeout.duration(),
            idle: config.idle_timeout.duration(),
            total: config.timeout.duration(),
        };
        let maker = Maker {
            config,
            env,
            clock,
            http: Arc::new(Http::new(deadlines.connect)),
            deadlines,
        };
        let mut remotes = Vec::with_capacity(BUILT_IN.len() + config.custom.len());
        for kind in BUILT_IN {
            remotes.push(maker.built_in(kind)?);
        }
        for (at, custom) in config.custom.iter().enumerate() {
            remotes.push(maker.custom(at, custom)?);
        }
        Ok(Arc::new(Self {
            remotes,
            offline: Arc::new(Offline),
            default: config.default.clone(),
            fallbacks: config.fallbacks.clone(),
            prices: config.prices.clone(),
            http: maker.http,
            ollama_models: Mutex::new(Vec::new()),
        }))
    }

    /// The price of a model in the order of TE-1; none means unpriced, which is never free.
    #[must_use]
    pub fn price(&self, provider: &str, model: &str) -> Option<Price> {
        Catalogue::shipped().price(&self.prices, provider, model)
    }

    /// Which providers can be used now, best first. Asks an Ollama on this machine whether it is there, and nobody
    /// else.
    pub async fn discover(&self) -> Vec<Discovered> {
        let mut found = Vec::new();
        for known in &self.remotes {
            // The same key opens it as `openai`.
            if known.kind == Some(Kind::Responses) {
                continue;
            }
            let (how, models) = match (&known.access, known.kind) {
                (Access::Closed(_), _) => continue,
                (_, Some(Kind::Ollama)) => {
                    match discover::ollama(&self.http, &known.provider.base).await {
                        Some(models) => {
                            *self
                                .ollama_models
                                .lock()
                                .unwrap_or_else(PoisonError::into_inner) = models.clone();
                            (format!("answers at {}", known.provider.base), models)
                        }
                        None => continue,
                    }
                }
                (Access::Key(how), _) => (how.clone(), Vec::new()),
                (Access::Open, _) => (format!("configured at {}", known.provider.base), Vec::new()),
            };
            let Some(model) = self.default_model(known) else {
                continue;
            };
            found.push(Discovered {
                provider: known.name.clone(),
                model,
                how,
                models,
            });
        }
        found
    }

    /// The model when only the provider is named; none for an endpoint whose models nobody told us.
    fn default_model(&self, known: &Known) -> Option<String> {
        if let Some(model) = &known.model {
            return Some(model.clone());
        }
        if known.kind == Some(Kind::Ollama) {
            let models = self
                .ollama_models
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(model) = models.first() {
                return Some(model.clone());
            }
        }
        known.kind.map(|kind| kind.default_model().to_owned())
    }

    fn names(&self) -> String {
        let names = self.remotes.iter().map(|known| known.name.as_str());
        names
            .chain([offline::PROVIDER])
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl Models for Registry {
    fn route(&self, name: &str) -> Result<Route, String> {
        let (provider, model) = match name.split_once('/') {
            Some((provider, model)) => (provider, model.trim()),
            None => (name, ""),
        };
        if provider == offline::PROVIDER {
            if !matches!(model, "" | offline::MODEL) {
                return Err(format!(
                    "the offline responder has no model `{model}`; it is `{}/{}`",
                    offline::PROVIDER,
                    offline::MODEL
                ));
            }
            return Ok(Route {
                name: format!("{}/{}", offline::PROVIDER, offline::MODEL),
                model: offline::MODEL.to_owned(),
                provider: Arc::clone(&self.offline),
                price: self.price(offline::PROVIDER, offline::MODEL),
                context_tokens: None,
                offline: true,
            });
        }
        let known = self
            .remotes
            .iter()
            .find(|known| known.name == provider)
            .ok_or_else(|| format!("no provider `{provider}`; there are: {}", self.names()))?;
        if let Access::Closed(why) = &known.access {
            return Err(format!("provider `{provider}` is not configured: {why}"));
        }
        let model = match model {
            "" => self.default_model(known).ok_or_else(|| {
                format!("name a model of `{provider}`, as in `{provider}/some-model`")
            })?,
            model => model.to_owned(),
        };
        let catalogue = Catalogue::shipped();
        let context_tokens = known
            .context_tokens
            .or_else(|| Some(catalogue.model(listed_as(provider), &model)?.context));
        Ok(Route {
            name: format!("{provider}/{model}"),
            price: catalogue.price(&self.prices, provider, &model),
            model,
            provider: Arc::<RemoteProvider>::clone(&known.provider),
            context_tokens,
            offline: false,
        })
    }

    fn default_route(&self) -> String {
        if let Some(route) = &self.default {
            return match route.split_once('/') {
                Some(_) => route.clone(),
                None => self
                    .route(route)
                    .map_or_else(|_closed| route.clone(), |route| route.name),
            };
        }
        let with_key = |known: &&Known| matches!(known.access, Access::Key(_));
        let first = self.remotes.iter().filter(with_key);
        match first
            .filter_map(|known| Some((known, self.default_model(known)?)))
            .next()
        {
            Some((known, model)) => format!("{}/{model}", known.name),
            None => format!("{}/{}", offline::PROVIDER, offline::MODEL),
        }
    }

    fn fallbacks(&self) -> Vec<String> {
        self.fallbacks.clone()
    }

    fn list(&self) -> Vec<ModelInfo> {
        let available = |provider: &str| {
            self.remotes
                .iter()
                .any(|known| known.name == provider && known.access.is_open())
        };
        let catalogue = Catalogue::shipped();
        let mut list: Vec<ModelInfo> = catalogue
            .models()
            .map(|model| ModelInfo {
                id: model.id.clone(),
                name: model.name.clone(),
                provider: model.provider.clone(),
                context_window: Some(model.context),
                price: self.price(&model.provider, &model.id),
                available: available(&model.provider),
            })
            .collect();
        let mut add = |provider: &str, id: String, name: String, available: bool| {
            if list
                .iter()
                .any(|model| model.provider == provider && model.id == id)
            {
                return;
            }
            let price = self.price(provider, &id);
            let provider = provider.to_owned();
            list.push(ModelInfo {
                id,
                name,
                provider,
                context_window: None,
                price,
                available,
            });
        };
        let pulled = self
            .ollama_models
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for model in pulled {
            add(Kind::Ollama.name(), model.clone(), model, true);
        }
        for known in &self.remotes {
            if let Some(model) = &known.model {
                add(
                    &known.name,
                    model.clone(),
                    model.clone(),
                    known.access.is_open(),
                );
            }
        }
        let label = "Built-in rule-based responder, not a model".to_owned();
        add(offline::PROVIDER, offline::MODEL.to_owned(), label, true);
        list
    }

    fn status(&self) -> Vec<ProviderStatus> {
        let remotes = self.remotes.iter().map(|known| ProviderStatus {
            name: known.name.clone(),
            configured: known.access.is_open(),
            base_url: known.provider.base.to_string(),
            last_fault: known.provider.breaker.last_fault(),
            resting: known.provider.breaker.resting(),
        });
        let offline = ProviderStatus {
            name: offline::PROVIDER.to_owned(),
            configured: true,
            base_url: "built in".to_owned(),
            last_fault: None,
            resting: std::time::Duration::ZERO,
        };
        remotes.chain([offline]).collect()
    }
}

/// What all providers of one registry are made from.
struct Maker<'a> {
    config: &'a Config,
    env: &'a dyn Fn(&str) -> Option<String>,
    clock: Arc<dyn Clock>,
    http: Arc<Http>,
    deadlines: Deadlines,
}

impl Maker<'_> {
    fn built_in(&self, kind: Kind) -> Result<Known, BuildError> {
        let remote = self.config.remote(kind);
        let place = format!("{}.base_url", kind.name());
        let base = base_url(
            remote.base_url.as_deref().unwrap_or(kind.home()),
            kind.style(),
        )
        .map_err(|error| invalid(place, error.to_string()))?;
        let (key, access) = match (remote.enabled, &remote.key) {
            (false, _) => (None, Access::Closed(disabled(kind.name()))),
            (true, Some(reference)) => self.referenced(reference),
            (true, None) => self.usual(kind),
        };
        let name = kind.name().to_owned();
        let model = remote.model.clone();
        let provider = self.provider(base, key, kind.wire());
        Ok(Known {
            name,
            kind: Some(kind),
            model,
            context_tokens: None,
            access,
            provider,
        })
    }

    fn custom(&self, at: usize, custom: &Custom) -> Result<Known, BuildError> {
        let base = base_url(&custom.base_url, Kind::OpenAi.style())
            .map_err(|error| invalid(format!("custom[{at}].base_url"), error.to_string()))?;
        let (key, access) = match (custom.enabled, &custom.key) {
            (false, _) => (None, Access::Closed(disabled(&custom.name))),
            (true, Some(reference)) => self.referenced(reference),
            (true, None) => (None, Access::Open),
        };
        let wire = Box::new(OpenAi::new(Dialect::Compatible));
        Ok(Known {
            name: custom.name.clone(),
            kind: None,
            model: custom.model.clone(),
            context_tokens: custom.context_tokens,
            access,
            provider: self.provider(base, key, wire),
        })
    }

    fn provider(
        &self,
        base: Url,
        key: Option<Arc<Key>>,
        wire: Box<dyn Wire>,
    ) -> Arc<RemoteProvider> {
        Arc::new(RemoteProvider {
            wire,
            base,
            key,
            http: Arc::clone(&self.http),
            deadlines: self.deadlines,
            breaker: self.breaker(),
            clock: Arc::clone(&self.clock),
        })
    }

    fn breaker(&self) -> Arc<Breaker> {
        let settings = &self.config.breaker;
        let clock = Arc::clone(&self.clock);
        Arc::new(Breaker::new(
            clock,
            settings.faults,
            settings.rest.duration(),
        ))
    }

    /// The key in the provider's usual environment variable.
    fn usual(&self, kind: Kind) -> (Option<Arc<Key>>, Access) {
        let variables = kind.key_variables();
        let Some(first) = variables.first() else {
            return (None, Access::Open);
        };
        let set = variables
            .iter()
            .find_map(|name| Some((*name, (self.env)(name)?)));
        match set.map(|(name, text)| (name, Key::new(&text))) {
            Some((name, Some(key))) => {
                (Some(Arc::new(key)), Access::Key(format!("key in `{name}`")))
            }
            Some((name, None)) => (
                None,
                Access::Closed(format!("`{name}` is empty or not a key")),
            ),
            None => (
                None,
                Access::Closed(format!("set `{first}`, or run `adjutant setup`")),
            ),
        }
    }

    /// The key behind a reference.
    fn referenced(&self, reference: &str) -> (Option<Arc<Key>>, Access) {
        let found = match KeyReference::parse(reference) {
            Ok(KeyReference::Env(name)) => match (self.env)(name) {
                Some(text) => {
                    Key::new(&text).ok_or_else(|| format!("`{name}` is empty or not a key"))
                }
                None => Err(format!("the environment variable `{name}` is not set")),
            },
            Ok(KeyReference::File(path)) => key_in_file(path),
            Err(message) => Err(format!("its key {message}")),
        };
        match found {
            Ok(key) => (
                Some(Arc::new(key)),
                Access::Key(format!("key by `{reference}`")),
            ),
            Err(why) => (None, Access::Closed(why)),
        }
    }
}

fn key_in_file(path: &str) -> Result<Key, String> {
    let mut text = zeroize::Zeroizing::new(String::new());
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(KEY_BYTES_MAX).read_to_string(&mut text));
    match read {
        Ok(_) => Key::new(&text).ok_or_else(|| format!("the file `{path}` does not hold one key")),
        Err(error) => Err(format!("the key file `{path}` cannot be read: {error}")),
    }
}

fn disabled(name: &str) -> String {
    format!("it is switched off by `providers.{name}.enabled`")
}

fn invalid(key: String, message: String) -> BuildError {
    BuildError::Invalid(vec![Finding { key, message }])
}

#[cfg(test)]
mod tests;

//! The first minutes: which providers there are, and the state directory, token, configuration and agent.
//!
//! A second run changes what was asked and nothing else. A key is referred to by the name of its variable; it is never
//! copied into a file.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use adjutant_cli::{Exit, Failure, ProviderFound, RouteChoice, SetupAnswers, SetupDone};
use adjutant_client::Client;
use adjutant_domain::agent::TrustLevel;
use adjutant_domain::id::AgentId;
use adjutant_ports::config::{ConfigDoor, ConfigFault};
use adjutant_ports::store::StoreError;
use adjutant_ports::{Clock, Entropy, Models as _};
use adjutant_protocol::methods::agents::{
    AgentIdParams, AgentsGet, AgentsUpdate, AgentsUpdateParams,
};
use adjutant_protocol::methods::agents::{AgentsTrust, AgentsTrustParams};
use adjutant_providers::{Config as Providers, Discovered, Registry};
use adjutant_store::OpenError;
use adjutant_vault::{Token, TokenError};

use crate::config::Settings;
use crate::daemon::{Life, Place, life};
use crate::parts::{Parts, PartsError};
use crate::platform;

/// Name of the token file within the state directory.
pub(crate) const TOKEN_FILE: &str = "token";
/// The variable that holds the token instead.
pub(crate) const TOKEN_VARIABLE: &str = "ADJUTANT_GATEWAY_TOKEN";

/// The providers that take a key, and the variables that usually hold it.
pub(crate) const KEYED: [(&str, &[&str]); 5] = [
    ("anthropic", &["ANTHROPIC_API_KEY"]),
    ("openai", &["OPENAI_API_KEY"]),
    ("gemini", &["GEMINI_API_KEY", "GOOGLE_API_KEY"]),
    ("groq", &["GROQ_API_KEY"]),
    ("openrouter", &["OPENROUTER_API_KEY"]),
];
const OLLAMA: &str = "ollama";
const OFFLINE: &str = "offline";

/// The environment as read at start.
pub(crate) type Env = BTreeMap<String, String>;

/// What setup works on.
pub(crate) struct Bench<'a> {
    /// The gateway's place, state directory included.
    pub(crate) place: &'a Place,
    /// The settings.
    pub(crate) settings: &'a Settings,
    /// The environment.
    pub(crate) env: &'a Env,
    /// Time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Random bits.
    pub(crate) entropy: &'a dyn Entropy,
}

/// Which providers this machine could use, in the order in which a default is looked for.
///
/// # Errors
/// When the section of the configuration makes no sense.
pub(crate) async fn discover_providers(
    config: &Providers,
    env: &Env,
    clock: Arc<dyn Clock>,
) -> Result<Vec<ProviderFound>, Failure> {
    let registry = registry(config, env, clock)?;
    let usable = registry.discover().await;
    let found_as = |name: &str| usable.iter().find(|it| it.provider == name);
    let ready = |it: &Discovered| ProviderFound {
        name: it.provider.clone(),
        ready: true,
        evidence: it.how.clone(),
        default_model: Some(it.model.clone()),
    };
    let missing = |name: &str, evidence: String| ProviderFound {
        name: name.to_owned(),
        ready: false,
        evidence,
        default_model: None,
    };
    let mut all = Vec::new();
    for (name, variables) in KEYED {
        all.push(found_as(name).map_or_else(
            || {
                let why = registry.route(name).err().unwrap_or_default();
                let unset = variables.iter().all(|it| !env.contains_key(*it));
                let said = if unset && why.contains(variables[0]) {
                    format!("{} is not set", variables[0])
                } else {
                    why
                };
                missing(name, said)
            },
            ready,
        ));
    }
    all.push(found_as(OLLAMA).map_or_else(
        || {
            missing(
                OLLAMA,
                format!("nothing answers at {}", ollama_address(config)),
            )
        },
        ready,
    ));
    let others = usable
        .iter()
        .filter(|it| it.provider != OLLAMA && KEYED.iter().all(|(name, _)| *name != it.provider));
    all.extend(others.map(ready));
    all.push(ProviderFound {
        name: OFFLINE.to_owned(),
        ready: true,
        evidence: "built in: follows fixed rules, is not a model".to_owned(),
        default_model: registry.route(OFFLINE).ok().map(|it| it.model),
    });
    Ok(all)
}

/// Makes what is missing and writes what was answered.
///
/// # Errors
/// `Usage` naming the variable when a key is missing, `Config` when an answer does not fit the configuration.
pub(crate) async fn setup(bench: &Bench<'_>, answers: SetupAnswers) -> Result<SetupDone, Failure> {
    let mut notes = Vec::new();
    if let Some(folder) = &answers.agent_workspace {
        check_workspace(folder, &bench.place.home)?;
    }
    // Looked at before anything is written: a refused answer leaves nothing behind.
    let changes = route_changes(bench, &answers.route, &mut notes).await?;
    make_state_dir(&bench.place.home)?;
    ensure_token(bench, &mut notes)?;
    for (key, value) in changes {
        set(bench.settings, &key, value)?;
    }
    let (agent, workspace, trust_level) = settle_agent(bench, &answers, &mut notes).await?;
    make_private_dir(&workspace)?;
    let tree = Arc::clone(&bench.settings.current());
    let registry = registry(&tree.tree.providers, bench.env, Arc::clone(&bench.clock))?;
    let route = registry.default_route();
    let (provider, model) = match route.split_once('/') {
        Some((provider, model)) => (provider.to_owned(), Some(model.to_owned())),
        None => (route, None),
    };
    if let Some(model) = &model
        && registry.price(&provider, model).is_none()
    {
        notes.push(format!(
            "no price is known for `{provider}/{model}`; its cost is shown as unknown until `providers.prices` has one"
        ));
    }
    if matches!(life(&bench.place.home), Life::Up { .. }) {
        notes.push(
            "a gateway is running; `adjutant gateway restart` makes it take up changed settings"
                .to_owned(),
        );
    }
    Ok(SetupDone {
        state_dir: bench.place.home.clone(),
        config: PathBuf::from(bench.settings.path()),
        provider,
        model,
        agent: agent.to_string(),
        workspace,
        trust_level,
        notes,
    })
}

/// The settings that an answered route comes to.
async fn route_changes(
    bench: &Bench<'_>,
    asked: &RouteChoice,
    notes: &mut Vec<String>,
) -> Result<Vec<(String, Value)>, Failure> {
    let tree = bench.settings.current();
    let mut config = tree.tree.providers.clone();
    let mut changes = Vec::new();
    let named = asked.provider.as_deref().map(str::to_owned);
    let provider = match named.or_else(|| current_provider(&config)) {
        Some(provider) => provider,
        None => registry(&config, bench.env, Arc::clone(&bench.clock))?
            .discover()
            .await
            .first()
            .map_or_else(|| OFFLINE.to_owned(), |it| it.provider.clone()),
    };
    if provider == OFFLINE && asked.base_url.is_some() {
        return Err(Failure::usage("`offline` is built in and has no address")
            .with_hint("leave out `--base-url`, or name another `--provider`"));
    }
    if provider != OFFLINE {
        let custom = config.custom.iter().any(|it| it.name == provider);
        let Some(remote) = config.remote_mut(&provider) else {
            if custom && asked.base_url.is_none() {
                return Ok(default_route(&provider, asked, &config, changes));
            }
            return Err(Failure::usage(format!("there is no provider `{provider}`"))
                .with_hint("one of offline, openai, anthropic, gemini, groq, openrouter, ollama"));
        };
        if let Some(url) = &asked.base_url {
            remote.base_url = Some(url.clone());
            changes.push((format!("providers.{provider}.base_url"), json!(url)));
        }
        if remote.key.is_none()
            && let Some(variable) = key_variable(&provider, bench.env)?
        {
            let reference = format!("env:{variable}");
            remote.key = Some(reference.clone());
            changes.push((format!("providers.{provider}.key"), json!(reference)));
            notes.push(format!("the key stays in `{variable}`; a gateway started elsewhere needs that variable, too"));
        }
        if !remote.enabled {
            remote.enabled = true;
            changes.push((format!("providers.{provider}.enabled"), json!(true)));
        }
    }
    let registry = registry(&config, bench.env, Arc::clone(&bench.clock))?;
    if let Err(why) = registry.route(&provider) {
        return Err(Failure::usage(why));
    }
    let mut asked = asked.clone();
    if provider == OLLAMA {
        // The first model it has is better than one it may not have.
        let found = registry
            .discover()
            .await
            .into_iter()
            .find(|it| it.provider == OLLAMA);
        match found {
            None => notes.push(format!(
                "nothing answers at {}; start it with `ollama serve`",
                ollama_address(&config)
            )),
            Some(found)
                if asked.model.is_none()
                    && asked.provider.is_some()
                    && !found.models.is_empty() =>
            {
                asked.model = Some(found.model);
            }
            Some(_) => {}
        }
    }
    Ok(default_route(&provider, &asked, &config, changes))
}

/// Adds the default route, if it was asked for or none is set.
fn default_route(
    provider: &str,
    asked: &RouteChoice,
    config: &Providers,
    mut changes: Vec<(String, Value)>,
) -> Vec<(String, Value)> {
    if asked.provider.is_some() || asked.model.is_some() || config.default.is_none() {
        let route = match &asked.model {
            // `--model openai/gpt-5-mini --provider openai` means what it says once.
            Some(model)
                if model.starts_with(&format!("{provider}/")) && provider != "openrouter" =>
            {
                model.clone()
            }
            Some(model) => format!("{provider}/{model}"),
            None => provider.to_owned(),
        };
        let kept = asked.model.is_none()
            && config
                .default
                .as_deref()
                .is_some_and(|it| provider_of(it) == provider);
        if !kept && config.default.as_ref() != Some(&route) {
            changes.push(("providers.default".to_owned(), json!(route)));
        }
    }
    changes
}

fn provider_of(route: &str) -> &str {
    route.split('/').next().unwrap_or_default()
}

fn current_provider(config: &Providers) -> Option<String> {
    config
        .default
        .as_deref()
        .map(|route| provider_of(route).to_owned())
}

/// The variable that holds the provider's key; none for a provider without keys.
fn key_variable(provider: &str, env: &Env) -> Result<Option<&'static str>, Failure> {
    let keyed = if provider == "openai-responses" {
        "openai"
    } else {
        provider
    };
    let Some((_, variables)) = KEYED.iter().find(|(name, _)| *name == keyed) else {
        return Ok(None);
    };
    let set = variables
        .iter()
        .find(|it| env.get(**it).is_some_and(|value| !value.trim().is_empty()));
    match set {
        Some(variable) => Ok(Some(variable)),
        None => {
            let first = variables.first().copied().unwrap_or_default();
            Err(Failure::usage(format!(
                "`{provider}` needs its key in the environment variable `{first}`, which is not set"
            ))
            .with_hint(format!("{first}=… adjutant setup --provider {provider}")))
        }
    }
}

/// Makes the state directory, for its owner only.
pub(crate) fn make_state_dir(home: &Path) -> Result<(), Failure> {
    make_private_dir(home)?;
    let wrong = |error| Failure::io(home.display(), &error);
    let metadata = std::fs::metadata(home).map_err(wrong)?;
    if platform::mode(&metadata).is_some_and(|mode| mode & 0o777 != 0o700) {
        platform::set_mode(home, 0o700).map_err(wrong)?;
    }
    Ok(())
}

fn make_private_dir(path: &Path) -> Result<(), Failure> {
    crate::parts::make_private_dir(path).map_err(|error| match error {
        PartsError::Io { path, source } => Failure::io(path.display(), &source),
        other => Failure::new(Exit::Failed, "INTERNAL", other.to_string()),
    })
}

fn ensure_token(bench: &Bench<'_>, notes: &mut Vec<String>) -> Result<(), Failure> {
    let named = bench.env.get(TOKEN_VARIABLE).filter(|it| !it.is_empty());
    let made = match named {
        Some(text) => {
            notes.push(format!(
                "the token in `{TOKEN_VARIABLE}` is used; none was written"
            ));
            Token::parse(text)
        }
        None => Token::load_or_create(&bench.place.home.join(TOKEN_FILE), bench.entropy),
    };
    made.map(drop).map_err(|error| {
        let exit = match error {
            TokenError::Weak { .. } | TokenError::Exposed { .. } => Exit::Config,
            TokenError::Io { .. } => Exit::Failed,
        };
        Failure::new(exit, "TOKEN", error.to_string())
    })
}

/// Makes or changes the agent, in the store or, when a gateway holds it, through that.
async fn settle_agent(
    bench: &Bench<'_>,
    answers: &SetupAnswers,
    notes: &mut Vec<String>,
) -> Result<(AgentId, PathBuf, u8), Failure> {
    let workspace = match &answers.agent_workspace {
        Some(folder) => Some(
            std::path::absolute(folder).map_err(|error| Failure::io(folder.display(), &error))?,
        ),
        None => None,
    };
    let level = match answers.trust_level {
        Some(n) => Some(
            TrustLevel::from_number(n).ok_or_else(|| Failure::usage("a trust level is 1 to 5"))?,
        ),
        None => None,
    };
    if let Some(folder) = &workspace {
        make_private_dir(folder)?;
        set(bench.settings, "agents.workspace", json!(folder))?;
    }
    if let Some(level) = level {
        set(bench.settings, "agents.trust_level", json!(level.number()))?;
    }
    let name = bench.settings.current().tree.agents.default.clone();
    if matches!(life(&bench.place.home), Life::Up { .. }) {
        return through_gateway(bench.place, name, workspace, level).await;
    }
    in_store(bench, name, workspace, level, notes).await
}

async fn in_store(
    bench: &Bench<'_>,
    name: AgentId,
    workspace: Option<PathBuf>,
    level: Option<TrustLevel>,
    notes: &mut Vec<String>,
) -> Result<(AgentId, PathBuf, u8), Failure> {
    let config = Arc::new(bench.settings.current().tree.clone());
    let parts = Parts::open(&bench.place.home, config)
        .await
        .map_err(|error| opened_badly(&error))?;
    let stored = |error: StoreError| Failure::new(Exit::Failed, "STORE", error.to_string());
    let found = parts
        .store
        .agent(&parts.owner, &name)
        .await
        .map_err(stored)?;
    let Some(found) = found else {
        notes.push(format!(
            "agent `{name}` is made at the first start of the gateway"
        ));
        let folder = workspace.unwrap_or_else(|| bench.place.home.join("workspace"));
        return Ok((name, folder, level.unwrap_or(TrustLevel::L4).number()));
    };
    let mut agent = (*found).clone();
    if let Some(folder) = workspace {
        agent.workspace = folder.to_string_lossy().into_owned();
    }
    if let Some(level) = level {
        agent.trust_level = level;
    }
    let agent = if agent == *found {
        agent
    } else {
        let revision = agent.revision;
        parts
            .store
            .put_agent(agent, Some(revision))
            .await
            .map_err(stored)?
    };
    Ok((
        name,
        PathBuf::from(&agent.workspace),
        agent.trust_level.number(),
    ))
}

async fn through_gateway(
    place: &Place,
    name: AgentId,
    workspace: Option<PathBuf>,
    level: Option<TrustLevel>,
) -> Result<(AgentId, PathBuf, u8), Failure> {
    let door = place.door();
    let client = Client::connect(door.endpoint, door.credential).await?;
    let mut shown = client
        .call::<AgentsGet>(AgentIdParams {
            agent_id: name.clone(),
        })
        .await?;
    if let Some(folder) = workspace {
        let mut agent = shown.agent.clone();
        agent.workspace = Some(folder.to_string_lossy().into_owned());
        let params = AgentsUpdateParams {
            agent,
            revision: Some(shown.revision),
            idempotency_key: None,
        };
        shown = client.call::<AgentsUpdate>(params).await?;
    }
    if let Some(level) = level {
        let params = AgentsTrustParams {
            agent_id: name.clone(),
            level,
            idempotency_key: None,
        };
        shown = client.call::<AgentsTrust>(params).await?;
    }
    let folder = shown
        .agent
        .workspace
        .map_or_else(|| place.home.join("workspace"), PathBuf::from);
    Ok((
        name,
        folder,
        shown.agent.trust_level.unwrap_or(TrustLevel::L1).number(),
    ))
}

fn opened_badly(error: &PartsError) -> Failure {
    let (exit, code) = match error {
        PartsError::Store(OpenError::Locked(_)) => (Exit::Conflict, "CONFLICT"),
        PartsError::Providers(_) | PartsError::Store(OpenError::Config(_)) => {
            (Exit::Config, "CONFIG")
        }
        _ => (Exit::Failed, "STORE"),
    };
    Failure::new(exit, code, error.to_string())
}

/// Refuses folders in which an agent could harm the installation itself.
pub(crate) fn check_workspace(folder: &Path, home: &Path) -> Result<(), Failure> {
    let refuse = |why: &str| {
        Err(
            Failure::usage(format!("{} cannot be a workspace: {why}", folder.display()))
                .with_hint("choose a folder of its own, as in `--agent-workspace ~/adjutant-work`"),
        )
    };
    let absolute =
        std::path::absolute(folder).map_err(|error| Failure::io(folder.display(), &error))?;
    if absolute.components().any(|it| it == Component::ParentDir) {
        return refuse("write it without `..`");
    }
    if absolute.parent().is_none() {
        return refuse("it is the root of the file system");
    }
    if home.starts_with(&absolute) {
        return refuse("the state directory lies in it");
    }
    if absolute.starts_with(home) && !absolute.starts_with(home.join("workspace")) {
        return refuse("it lies among the files of the state directory");
    }
    if absolute.exists() && !absolute.is_dir() {
        return refuse("it is a file");
    }
    Ok(())
}

fn set(settings: &Settings, key: &str, value: Value) -> Result<(), Failure> {
    settings
        .set(key, Some(value), None)
        .map(drop)
        .map_err(|fault| {
            let (exit, code) = match fault {
                ConfigFault::UnknownKey { .. } => (Exit::NotFound, "NOT_FOUND"),
                ConfigFault::Invalid { .. } => (Exit::Config, "CONFIG"),
                ConfigFault::Conflict { .. } => (Exit::Conflict, "CONFLICT"),
                ConfigFault::Io { .. } => (Exit::Failed, "IO"),
            };
            Failure::new(exit, code, fault.to_string())
        })
}

fn registry(
    config: &Providers,
    env: &Env,
    clock: Arc<dyn Clock>,
) -> Result<Arc<Registry>, Failure> {
    let lookup = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
    Registry::build(config, &lookup, clock)
        .map_err(|error| Failure::new(Exit::Config, "CONFIG", error.to_string()))
}

pub(crate) fn ollama_address(config: &Providers) -> String {
    config
        .ollama
        .base_url
        .clone()
        .unwrap_or_else(|| "http://127.0.0.1:11434".to_owned())
}

#[cfg(test)]
mod tests;

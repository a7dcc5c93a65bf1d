//! This machine as a node: from the configuration to a running host.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use adjutant_cli::{Exit, Failure, NodeControl, NodeOptions, NodeState, Removing, ServiceState};
use adjutant_node::{Deps, Endpoint, Fingerprint, Node, NodeError, NodeHost, Phase, read_status};

use crate::daemon::{self, Entry, Service};
use crate::doors::{OsEntropy, SystemClock};
use crate::host::{Machine, told_to_stop};
use crate::{failures, home};

/// Bytes of a token file.
const TOKEN_BYTES_MAX: u64 = 4 << 10;

#[async_trait]
impl NodeControl for Machine {
    async fn node_run(&self, options: NodeOptions) -> Result<(), Failure> {
        let (home, settings) = self.settings()?;
        let tree = settings.current().tree.clone();
        self.begin_log(&home, &tree.logging, None)?;
        let mut config = tree.node;
        config.without.extend(options.without);
        let named = options.gateway.or_else(|| config.gateway.clone());
        let endpoint = match &named {
            Some(text) => Endpoint::parse(text).map_err(|it| Failure::usage(it.to_string()))?,
            None => Endpoint::Unix(home.join(daemon::SOCKET_FILE)),
        };
        let pinned = options.fingerprint.or_else(|| config.fingerprint.clone());
        let pinned = pinned
            .map(|text| {
                Fingerprint::parse(&text)
                    .ok_or_else(|| Failure::usage("`--tls-fingerprint` must be 64 hex digits"))
            })
            .transpose()?;
        if pinned.is_some() && !endpoint.is_tls() {
            return Err(
                Failure::usage("a fingerprint belongs to an encrypted connection")
                    .with_hint("write the gateway's address with `wss://`"),
            );
        }
        let token = token(options.token_file.as_deref(), named.is_some())?;
        let folder = folder_of(&home)?;
        let clock = Arc::new(SystemClock::new());
        let unusable = |error: &std::io::Error| Failure::io(folder.display(), error);
        let host = NodeHost::find(&config, &folder, Arc::clone(&clock) as _)
            .await
            .map_err(|error| unusable(&error))?;
        let name = options.name.or(config.name).unwrap_or_else(home::host_name);
        let deps = Deps {
            clock,
            entropy: Arc::new(OsEntropy),
            version: crate::VERSION.to_owned(),
        };
        let node = Node::open(&folder, endpoint, pinned, token, name, Arc::new(host), deps)
            .map_err(|error| failure(&error))?;
        let stop = CancellationToken::new();
        let told = stop.clone();
        tokio::spawn(async move {
            told_to_stop().await;
            told.cancel();
        });
        node.run(&stop).await.map_err(|error| failure(&error))
    }

    async fn node_state(&self) -> Result<NodeState, Failure> {
        let home = self.home()?;
        let folder = home.join("node");
        let status = read_status(&folder).map_err(|error| Failure::io(folder.display(), &error))?;
        let installed = Service::here(Entry::node(Vec::new()), &home, &log(&home))
            .is_some_and(|it| daemon::is_installed(&it));
        let Some(status) = status else {
            return Ok(NodeState {
                folder,
                installed,
                ..NodeState::default()
            });
        };
        let (phase, note) = match status.phase {
            Phase::Stopped => ("stopped", None),
            Phase::Connecting { reason } => ("connecting", reason),
            Phase::Pairing { request_id } => {
                let id = request_id.unwrap_or_else(|| "<request>".to_owned());
                let note = format!("run `adjutant devices approve {id}` at the gateway");
                ("pairing", Some(note))
            }
            Phase::Connected { protocol } => ("connected", Some(format!("protocol {protocol}"))),
        };
        let running = phase != "stopped";
        Ok(NodeState {
            running,
            phase: Some(phase.to_owned()),
            note,
            since: running.then_some(status.since),
            pid: running.then_some(status.pid),
            node_id: Some(status.node_id),
            name: Some(status.name),
            gateway: Some(status.gateway),
            commands: status.commands,
            folder,
            installed,
        })
    }

    async fn node_install(&self, options: NodeOptions) -> Result<ServiceState, Failure> {
        let (home, _) = self.settings()?;
        let entry = Entry::node(arguments(&options)?);
        daemon::install(&known(Service::here(entry, &home, &log(&home)))?).await
    }

    async fn node_uninstall(&self, how: Removing) -> Result<ServiceState, Failure> {
        let home = self.home()?;
        let entry = Entry::node(Vec::new());
        daemon::uninstall(&known(Service::here(entry, &home, &log(&home)))?, how).await
    }
}

/// What the service is started with. The token itself is never written there: its file is named.
fn arguments(options: &NodeOptions) -> Result<Vec<String>, Failure> {
    let mut args = Vec::new();
    let mut add = |flag: &str, value: &str| args.extend([flag.to_owned(), value.to_owned()]);
    if let Some(gateway) = &options.gateway {
        let endpoint = Endpoint::parse(gateway).map_err(|it| Failure::usage(it.to_string()))?;
        add("--gateway", &endpoint.to_string());
    }
    if let Some(file) = &options.token_file {
        let file =
            std::path::absolute(file).map_err(|error| Failure::io(file.display(), &error))?;
        let text = file
            .to_str()
            .ok_or_else(|| Failure::usage("the path of the token file is no text"))?;
        add("--token-file", text);
    }
    if let Some(name) = &options.name {
        add("--name", name);
    }
    if let Some(fingerprint) = &options.fingerprint {
        add("--tls-fingerprint", fingerprint);
    }
    for it in &options.without {
        add("--without", it);
    }
    Ok(args)
}

fn folder_of(home: &Path) -> Result<PathBuf, Failure> {
    let folder = home.join("node");
    for it in [home, &folder] {
        crate::parts::make_private_dir(it).map_err(|error| failures::parts(it, &error))?;
    }
    Ok(folder)
}

fn log(home: &Path) -> PathBuf {
    home.join("logs").join("node.log")
}

/// A token that was given for this gateway: never a stored one of another (S6).
fn token(file: Option<&Path>, named: bool) -> Result<Option<String>, Failure> {
    use std::io::Read as _;

    if let Some(path) = file {
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text))
            .map_err(|error| {
                let what = format!("cannot read the token file `{}`", path.display());
                Failure::io(what, &error)
            })?;
        let token = text.trim();
        if token.is_empty() {
            let message = format!("the token file `{}` is empty", path.display());
            return Err(Failure::usage(message));
        }
        return Ok(Some(token.to_owned()));
    }
    Ok(std::env::var("ADJUTANT_GATEWAY_TOKEN")
        .ok()
        .filter(|it| named && !it.is_empty()))
}

fn known(service: Option<Service>) -> Result<Service, Failure> {
    service.ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            "UNSUPPORTED",
            "this system has no service manager that adjutant knows",
        )
        .with_hint("run `adjutant node run` under a supervisor")
    })
}

fn failure(error: &NodeError) -> Failure {
    let message = failures::chain(error);
    match error {
        NodeError::AlreadyRuns { .. } => Failure::new(Exit::Conflict, "CONFLICT", message)
            .with_hint("see `adjutant node status`"),
        NodeError::Refused { code, .. } => {
            let failure = Failure::new(Exit::Denied, code.clone(), message);
            if code.starts_with("AUTH_") {
                failure.with_hint(
                    "give the gateway's token with `--token-file` or `ADJUTANT_GATEWAY_TOKEN`",
                )
            } else {
                failure
            }
        }
        NodeError::Folder { .. } | NodeError::Identity(_) => {
            Failure::new(Exit::Failed, "IO", message)
        }
    }
}

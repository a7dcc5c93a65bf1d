//! What the terminal needs from the program around it: everything that is not the protocol.
//!
//! Processes, files of the state directory and checks of this machine belong to the binary. It answers with plain data;
//! the words and tables people see are made here.

use std::any::Any;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use adjutant_client::{Credential, Endpoint, Fingerprint};
use adjutant_domain::time::Timestamp;
use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::host_backup::Backups;
use crate::host_db::Databases;
use crate::host_node::NodeControl;
pub use crate::host_shape::{GatewayOptions, WorkerOptions};
use crate::host_tls::TlsState;

/// Who builds the walls around a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SandboxDriver {
    /// The program of that name.
    Bubblewrap,
    /// This program itself.
    Native,
}

/// What the program around the terminal can do.
#[async_trait]
pub trait Host: NodeControl + Backups + Databases + Send + Sync {
    /// Takes over the flags that concern the host. Called once, before anything else.
    ///
    /// # Errors
    /// When a flag cannot be honoured.
    fn apply(&self, settings: &HostSettings) -> Result<(), Failure>;

    /// Version, commit, platform.
    fn build(&self) -> BuildInfo;

    /// The state directory.
    ///
    /// # Errors
    /// When there is no place for it (no home directory).
    fn state_dir(&self) -> Result<PathBuf, Failure>;

    /// Whether `setup` was done here.
    ///
    /// # Errors
    /// When the state directory cannot be read.
    fn progress(&self) -> Result<Progress, Failure>;

    /// The gateway of this state directory, if one runs.
    ///
    /// # Errors
    /// When that cannot be found out.
    async fn local_gateway(&self) -> Result<Option<Reachable>, Failure>;

    /// The certificate by which the gateway at `endpoint` is known.
    ///
    /// # Errors
    /// When the configuration is wrong.
    fn pin_of(&self, endpoint: &Endpoint) -> Result<Option<Fingerprint>, Failure>;

    /// Starts a gateway in this process, for as long as the guard lives. Only called when none runs.
    ///
    /// # Errors
    /// [`Exit::Conflict`](crate::Exit::Conflict) when the state directory is locked, `Config` when the configuration is
    /// wrong.
    async fn ephemeral_gateway(&self, options: EphemeralOptions) -> Result<Ephemeral, Failure>;

    /// Runs a gateway in the foreground until it is told to stop.
    ///
    /// # Errors
    /// When it cannot start, or ends badly.
    async fn gateway_run(&self, options: GatewayOptions) -> Result<(), Failure>;

    /// Starts the daemon and waits until it is ready.
    ///
    /// # Errors
    /// [`Exit::Conflict`](crate::Exit::Conflict) naming the one that runs.
    async fn gateway_start(&self, options: GatewayOptions) -> Result<GatewayState, Failure>;

    /// Stops the daemon; the state afterwards. Not running is not an error.
    ///
    /// # Errors
    /// When it does not stop.
    async fn gateway_stop(&self) -> Result<GatewayState, Failure>;

    /// Whether a gateway runs, where and since when.
    ///
    /// # Errors
    /// When that cannot be found out.
    async fn gateway_state(&self) -> Result<GatewayState, Failure>;

    /// Prints lines of the daemon's log through `line` until there are no more, or for ever with `follow`. `line`
    /// answers whether it wants another.
    ///
    /// # Errors
    /// When there is no log.
    async fn gateway_logs(
        &self,
        options: LogOptions,
        line: &mut (dyn for<'l> FnMut(&'l str) -> Wants + Send),
    ) -> Result<(), Failure>;

    /// Starts the gateway at every login.
    ///
    /// # Errors
    /// When the system has no service manager we know.
    async fn gateway_install(&self) -> Result<ServiceState, Failure>;

    /// Undoes [`Host::gateway_install`], or says what would be undone.
    ///
    /// # Errors
    /// When something cannot be removed.
    async fn gateway_uninstall(&self, how: Removing) -> Result<ServiceState, Failure>;

    /// Runs a worker in the foreground until it is told to stop.
    ///
    /// # Errors
    /// When it cannot start, or ends badly.
    async fn worker_run(&self, options: WorkerOptions) -> Result<(), Failure>;

    /// Which providers this machine could use: keys in the environment, an Ollama that answers, offline.
    ///
    /// # Errors
    /// When the environment cannot be looked at.
    async fn discover_providers(&self) -> Result<Vec<ProviderFound>, Failure>;

    /// Writes the first configuration, the token and the state directory.
    ///
    /// # Errors
    /// `Usage` when an answer is missing (no key in the environment), `Config` when something is wrong with it.
    async fn setup(&self, answers: SetupAnswers) -> Result<SetupDone, Failure>;

    /// Runs the guided demonstration. Output and questions go through `stage`.
    ///
    /// # Errors
    /// When a step does not do what it promises.
    async fn demo(&self, options: DemoOptions, stage: &mut dyn Stage) -> Result<DemoDone, Failure>;

    /// Values and layers of the configuration, secrets masked; the whole tree without a key.
    ///
    /// # Errors
    /// `NotFound` for an unknown key (naming the nearest), `Config` when the file is wrong.
    fn config_get(&self, key: Option<&str>) -> Result<Value, Failure>;

    /// Sets (`Some`) or removes (`None`) a key, through check and atomic replacement.
    ///
    /// # Errors
    /// `Config` when the result would be wrong, `Conflict` when somebody else wrote.
    fn config_change(&self, key: &str, value: Option<Value>) -> Result<ConfigChanged, Failure>;

    /// Where a value comes from.
    ///
    /// # Errors
    /// `NotFound` for an unknown key (naming the nearest).
    fn config_explain(&self, key: &str) -> Result<ConfigExplained, Failure>;

    /// JSON Schema of the configuration.
    fn config_schema(&self) -> Value;

    /// The active file, whether it exists or not.
    ///
    /// # Errors
    /// When there is no place for it.
    fn config_path(&self) -> Result<PathBuf, Failure>;

    /// Checks a file, the active one without a path.
    ///
    /// # Errors
    /// `Config` naming key, place and nearest key; `NotFound`.
    fn config_validate(&self, file: Option<&Path>) -> Result<ConfigValid, Failure>;

    /// Replaces the active file with `text` if it still has the content `seen`.
    ///
    /// # Errors
    /// `Config` when the text is wrong, `Conflict` when somebody else wrote.
    fn config_replace(&self, seen: &str, text: &str) -> Result<ConfigChanged, Failure>;

    /// Checks the store.
    ///
    /// # Errors
    /// When it cannot be opened; what is wrong inside is in the report.
    async fn verify_store(&self) -> Result<Report, Failure>;

    /// Tries to break out of the sandbox: of the configured one, or of the walls of `driver`.
    ///
    /// # Errors
    /// When it cannot be tried; an escape is in the report.
    async fn sandbox_verify(&self, driver: Option<SandboxDriver>) -> Result<Report, Failure>;

    /// Checks the installation, applying safe fixes if asked.
    ///
    /// # Errors
    /// When the checks cannot run.
    async fn doctor_checks(&self, fixing: Fixing) -> Result<Report, Failure>;

    /// How policy would judge a shell command: `class`, `parse`, `rule`, …
    ///
    /// # Errors
    /// Never for an unparsable command: that is a judgement.
    fn analyse_command(&self, script: &str) -> Result<Value, Failure>;
}

/// Flags that concern the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostSettings {
    /// The configuration file to use.
    pub config: Option<PathBuf>,
    /// How much is logged.
    pub verbosity: Verbosity,
}

/// How much is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Only what was asked for.
    Quiet,
    /// The usual.
    #[default]
    Usual,
    /// More.
    Verbose,
    /// Everything.
    Debug,
}

/// What this program is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildInfo {
    /// `0.1.0`.
    pub version: String,
    /// Commit, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// `debug` or `release`.
    pub profile: String,
    /// `x86_64-linux`.
    pub platform: String,
    /// SQLite's version.
    pub sqlite: String,
}

/// How far a state directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is there.
    Fresh,
    /// `setup` was done.
    SetUp,
}

/// A gateway that can be talked to.
#[derive(Debug, Clone)]
pub struct Reachable {
    /// Where.
    pub endpoint: Endpoint,
    /// With what.
    pub credential: Credential,
}

/// A gateway in this process; it stops when this is dropped.
pub struct Ephemeral {
    /// How to reach it.
    pub gateway: Reachable,
    /// Keeps it alive. The host stops it in `Drop`.
    pub guard: Box<dyn Any + Send + Sync>,
}

/// What the gateway of the occasion is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EphemeralOptions {
    /// Whether runs are carried out.
    pub workers: Workers,
    /// Another provider or model than configured.
    pub route: RouteChoice,
}

/// Whether a gateway of the occasion carries out runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// Yes.
    Here,
    /// No: it only answers questions.
    None,
}

/// A provider, a model, an address: whatever was named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteChoice {
    /// Provider.
    pub provider: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Base URL of the provider.
    pub base_url: Option<String>,
}

/// Whether and where a gateway runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayState {
    /// Whether it runs.
    pub running: bool,
    /// Its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Where it listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// The certificate its port shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsState>,
    /// Its socket file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Its log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
    /// The state directory it holds.
    pub state_dir: PathBuf,
    /// Whether it is started at login.
    pub installed: bool,
}

/// What was read of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// Lines to begin with.
    pub lines: u32,
    /// Whether to go on.
    pub follow: Follow,
}

/// Whether a stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// Until it is stopped.
    Yes,
    /// What is there.
    No,
}

/// Whether another line is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Go on.
    More,
    /// The reader is gone.
    NoMore,
}

/// A service entry of the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceState {
    /// `systemd` or `launchd`.
    pub manager: String,
    /// The files it consists of.
    pub files: Vec<PathBuf>,
    /// Whether it is there now.
    pub installed: bool,
    /// What to know or do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Whether something is removed or only looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removing {
    /// Do it.
    Really,
    /// Say what would go.
    DryRun,
}

/// A provider this machine could use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderFound {
    /// `anthropic`.
    pub name: String,
    /// Whether it can be used as things are.
    pub ready: bool,
    /// Where that is known from: `ANTHROPIC_API_KEY is set`, `nothing answers on port 11434`.
    pub evidence: String,
    /// The model taken when none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_model: Option<String>,
}

/// Answers to the questions of `setup`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetupAnswers {
    /// Provider, model, base URL.
    pub route: RouteChoice,
    /// The agent's folder.
    pub agent_workspace: Option<PathBuf>,
    /// The agent's trust level.
    pub trust_level: Option<u8>,
}

/// What `setup` made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetupDone {
    /// The state directory.
    pub state_dir: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
    /// The provider that answers.
    pub provider: String,
    /// Its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The agent that was made or kept.
    pub agent: String,
    /// Its folder.
    pub workspace: PathBuf,
    /// Its trust level.
    pub trust_level: u8,
    /// What to know.
    pub notes: Vec<String>,
}

/// How the demonstration runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoOptions {
    /// Whether questions are put to a person.
    pub asking: Asking,
    /// What happens to the folder afterwards.
    pub folder: DemoFolder,
}

/// Whether questions are put to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// On the terminal.
    Person,
    /// Nobody: go on by itself.
    Nobody,
}

/// What happens to the demonstration's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DemoFolder {
    /// Removed.
    Remove,
    /// Kept.
    Keep,
}

/// Where the demonstration is shown.
#[async_trait]
pub trait Stage: Send {
    /// A new chapter.
    fn chapter(&mut self, title: &str);
    /// A line of explanation or output. Markdown is rendered.
    fn say(&mut self, text: &str);
    /// Shows a question in full and waits for a yes or no. Nobody there means yes: it is a throwaway folder.
    async fn ask(&mut self, shown: &str) -> bool;
}

/// What came of the demonstration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DemoDone {
    /// One line per thing that was shown to work.
    pub proven: Vec<String>,
    /// The folder, if it was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
}

/// What a change of the configuration came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigChanged {
    /// The file.
    pub path: PathBuf,
    /// The keys that differ now.
    pub keys: Vec<String>,
    /// Those of them that count after a restart only.
    pub needs_restart: Vec<String>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigExplained {
    /// Dotted key.
    pub key: String,
    /// Its value now, masked if secret.
    pub value: Value,
    /// `default`, `user file`, `environment`, …
    pub layer: String,
    /// File and line, or the variable's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The value without any setting.
    pub default: Value,
    /// Type, in words.
    pub kind: String,
    /// What it does.
    pub docs: String,
    /// Whether a change counts after a restart only.
    pub needs_restart: bool,
}

/// A file that is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigValid {
    /// The file.
    pub path: PathBuf,
    /// How many keys it sets.
    pub keys: u64,
    /// What is right but unwise.
    pub warnings: Vec<String>,
}

/// Whether safe fixes are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fixing {
    /// Apply them.
    Yes,
    /// Say them.
    No,
}

/// A list of checks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Each check, in the order they ran.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Stable name: `store.journal`.
    pub id: String,
    /// What came of it.
    pub severity: Severity,
    /// What was found.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// Whether it was fixed just now.
    #[serde(default)]
    pub fixed: bool,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Could not be tried here; the message says why.
    Skipped,
    /// Works, but look at it.
    Warning,
    /// Does not work.
    Error,
}

//! What the terminal asks of this machine: the `Host` of the command line.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::{Value, json};

use adjutant_cli::{
    BuildInfo, Check, ConfigChanged, ConfigExplained, ConfigValid, DemoDone, DemoOptions,
    Ephemeral, EphemeralOptions, Exit, Failure, Fixing, GatewayOptions, GatewayState, Host,
    HostSettings, LogOptions, Progress, ProviderFound, Reachable, Removing, Report, RouteChoice,
    SandboxDriver, ServiceState, SetupAnswers, SetupDone, Severity, Stage, Verbosity, Wants,
    WorkerOptions, Workers,
};
use adjutant_client::{Credential, Endpoint, Fingerprint};
use adjutant_policy::command::{Surroundings, analyse};
use adjutant_ports::config::{ConfigDoor as _, ConfigFault};
use adjutant_telemetry::{Config as LogConfig, Guard, Target};

use crate::config::{Settings, Sources};
use crate::daemon::{self, Entry, Life, Place, Service};
use crate::doors::{OsEntropy, SystemClock};
use crate::escape::{check, slug, trials};
use crate::gateway::{Running, Shape};
use crate::parts::Parts;
use crate::platform::door;
use crate::setup::{self, Bench};
use crate::{demo, doctor, failures, home};

/// This machine.
pub(crate) struct Machine {
    settings: Mutex<HostSettings>,
    log: Mutex<Option<Guard>>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self {
            settings: Mutex::default(),
            log: Mutex::default(),
        }
    }

    fn asked(&self) -> HostSettings {
        self.settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn home(&self) -> Result<PathBuf, Failure> {
        home::state_dir().ok_or_else(|| {
            Failure::new(
                Exit::Failed,
                "NO_HOME",
                "there is no place for the state: neither HOME nor ADJUTANT_HOME is set",
            )
            .with_hint("set `ADJUTANT_HOME` to a folder of your own")
        })
    }

    fn sources(&self, flags: Vec<(String, Value)>) -> Result<(PathBuf, Sources), Failure> {
        let home = self.home()?;
        let mut sources = Sources::usual(&home, Sources::process_variables());
        if let Some(file) = self.asked().config {
            sources.file = file;
        }
        sources.flags = flags;
        Ok((home, sources))
    }

    fn settings_with(
        &self,
        flags: Vec<(String, Value)>,
    ) -> Result<(PathBuf, Arc<Settings>), Failure> {
        let (home, sources) = self.sources(flags)?;
        // A file that was named and is not there is a mistake, not an empty configuration.
        if self.asked().config.is_some() && !sources.file.exists() {
            return Err(
                Failure::not_found("configuration file", sources.file.display()).with_hint(
                    "`adjutant --config FILE config set …` does not make one; create it first",
                ),
            );
        }
        let settings = Settings::open(sources, &home).map_err(|e| failures::config(&e))?;
        Ok((home, Arc::new(settings)))
    }

    pub(crate) fn settings(&self) -> Result<(PathBuf, Arc<Settings>), Failure> {
        self.settings_with(Vec::new())
    }

    /// Where the gateway lives. Works with a broken configuration, too: a gateway must be stoppable.
    fn place(&self) -> Result<Place, Failure> {
        let (home, sources) = self.sources(Vec::new())?;
        let loaded = Settings::open(sources, &home).ok().map(|it| it.current());
        let path = loaded.as_ref().and_then(|it| it.tree.logging.path.clone());
        let worker = loaded.as_ref().map(|it| it.tree.worker.clone());
        let drain = worker.unwrap_or_default().drain.duration();
        let tls = loaded.map(|it| it.tree.gateway.tls.clone());
        let log = log_file(&home, path.as_deref());
        let service = Service::here(Entry::gateway(drain), &home, &log);
        Ok(Place {
            socket: home.join(daemon::SOCKET_FILE),
            log,
            config: self.asked().config,
            credential: Credential::None,
            tls: tls.unwrap_or_default(),
            drain,
            service,
            home,
        })
    }

    /// Begins the log of a long-lived shape: the log file for a daemon, standard output in the foreground.
    pub(crate) fn begin_log(
        &self,
        home: &Path,
        config: &LogConfig,
        target: Option<Target>,
    ) -> Result<(), Failure> {
        let target = target.unwrap_or_else(|| {
            if daemon::is_daemon() {
                Target::File(log_file(home, config.path.as_deref()))
            } else {
                Target::Stdout
            }
        });
        let guard = adjutant_telemetry::init(config, target)
            .map_err(|e| Failure::new(Exit::Config, "CONFIG", failures::chain(&e)))?;
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = Some(guard);
        Ok(())
    }

    /// A gateway for the occasion only logs when it was asked to: its output belongs to the command.
    fn begin_quiet_log(&self, home: &Path, config: &LogConfig) -> Result<(), Failure> {
        let wanted = matches!(
            self.asked().verbosity,
            Verbosity::Verbose | Verbosity::Debug
        ) || std::env::var_os("ADJUTANT_LOG").is_some();
        let already = self
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some();
        if wanted && !already {
            self.begin_log(home, config, Some(Target::Stderr))
        } else {
            Ok(())
        }
    }
}

/// Where a daemon logs to.
pub(crate) fn log_file(home: &Path, path: Option<&str>) -> PathBuf {
    path.map_or_else(|| home.join("logs").join("gateway.log"), PathBuf::from)
}

/// The flags of a route as settings of the last layer.
fn route_flags(route: &RouteChoice) -> Vec<(String, Value)> {
    let mut flags = Vec::new();
    if let Some(provider) = &route.provider {
        let name = match &route.model {
            Some(model) => format!("{provider}/{model}"),
            None => provider.clone(),
        };
        flags.push(("providers.default".to_owned(), json!(name)));
        if let Some(base_url) = &route.base_url {
            flags.push((format!("providers.{provider}.base_url"), json!(base_url)));
        }
        if let Some(model) = route.model.as_ref().filter(|_| provider != "offline") {
            flags.push((format!("providers.{provider}.model"), json!(model)));
        }
    } else if let Some(model) = &route.model {
        flags.push(("providers.default".to_owned(), json!(model)));
    }
    flags
}

fn gateway_flags(options: &GatewayOptions) -> Vec<(String, Value)> {
    let mut flags = Vec::new();
    if let Some(port) = options.port {
        flags.push(("gateway.port".to_owned(), json!(port)));
    }
    if let Some(bind) = &options.bind {
        flags.push(("gateway.bind".to_owned(), json!(bind)));
    }
    flags.extend(database_flag(options.database_url.as_ref()));
    flags
}

fn database_flag(url: Option<&String>) -> Option<(String, Value)> {
    url.map(|url| ("store.database_url".to_owned(), json!(url)))
}

/// Resolves when the process is asked to end.
pub(crate) async fn told_to_stop() {
    tokio::select! {
        () = crate::platform::asked_to_end() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

fn config_fault(fault: &ConfigFault) -> Failure {
    match fault {
        ConfigFault::UnknownKey { .. } => {
            Failure::new(Exit::NotFound, "NOT_FOUND", fault.to_string())
        }
        ConfigFault::Invalid { .. } => Failure::new(Exit::Config, "CONFIG", fault.to_string()),
        ConfigFault::Conflict { .. } => {
            Failure::new(Exit::Conflict, "CONFIG_CONFLICT", fault.to_string())
                .with_hint("read it again, then change it")
        }
        ConfigFault::Io { .. } => Failure::new(Exit::Failed, "IO", fault.to_string()),
    }
}

#[async_trait]
impl Host for Machine {
    fn apply(&self, settings: &HostSettings) -> Result<(), Failure> {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings.clone();
        Ok(())
    }

    fn build(&self) -> BuildInfo {
        BuildInfo {
            version: crate::VERSION.to_owned(),
            commit: option_env!("ADJUTANT_COMMIT").map(ToOwned::to_owned),
            profile: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            }
            .to_owned(),
            platform: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            sqlite: adjutant_store::sqlite_version().to_owned(),
        }
    }

    fn state_dir(&self) -> Result<PathBuf, Failure> {
        self.home()
    }

    fn progress(&self) -> Result<Progress, Failure> {
        let (home, sources) = self.sources(Vec::new())?;
        let set_up = sources.file.exists() || home.join(adjutant_store::FILE_NAME).exists();
        Ok(if set_up {
            Progress::SetUp
        } else {
            Progress::Fresh
        })
    }

    async fn local_gateway(&self) -> Result<Option<Reachable>, Failure> {
        let home = self.home()?;
        match daemon::life(&home) {
            Life::Up { .. } => {
                let socket = home.join(daemon::SOCKET_FILE);
                Ok(Some(door(&home, &socket, &Credential::None)))
            }
            Life::Down | Life::Stale { .. } => Ok(None),
        }
    }

    fn pin_of(&self, endpoint: &Endpoint) -> Result<Option<Fingerprint>, Failure> {
        Ok(self.settings()?.1.current().tree.client.pin_of(endpoint))
    }

    async fn ephemeral_gateway(&self, options: EphemeralOptions) -> Result<Ephemeral, Failure> {
        let mut flags = route_flags(&options.route);
        // Any free port: this gateway is only for the one who started it.
        flags.push(("gateway.port".to_owned(), json!(0)));
        let (home, settings) = self.settings_with(flags)?;
        self.begin_quiet_log(&home, &settings.current().tree.logging)?;
        let workers = match options.workers {
            Workers::Here => Shape::default().workers,
            Workers::None => 0,
        };
        let running = Running::start(
            &home,
            settings,
            Shape {
                workers,
                announced: true,
            },
        )
        .await?;
        let socket = running
            .socket
            .clone()
            .unwrap_or_else(|| home.join(daemon::SOCKET_FILE));
        let gateway = door(&home, &socket, &Credential::None);
        Ok(Ephemeral {
            gateway,
            guard: Box::new(running),
        })
    }

    async fn gateway_run(&self, options: GatewayOptions) -> Result<(), Failure> {
        let (home, settings) = self.settings_with(gateway_flags(&options))?;
        self.begin_log(&home, &settings.current().tree.logging, None)?;
        let shape = Shape {
            workers: options.workers.unwrap_or(Shape::default().workers),
            announced: true,
        };
        let running = Running::start(&home, settings, shape).await?;
        running.serve_until(told_to_stop()).await;
        Ok(())
    }

    async fn gateway_start(&self, options: GatewayOptions) -> Result<GatewayState, Failure> {
        daemon::start(&self.place()?, &options).await
    }

    async fn gateway_stop(&self) -> Result<GatewayState, Failure> {
        daemon::stop(&self.place()?).await
    }

    async fn gateway_state(&self) -> Result<GatewayState, Failure> {
        Ok(daemon::state(&self.place()?))
    }

    async fn gateway_logs(
        &self,
        options: LogOptions,
        line: &mut (dyn for<'a> FnMut(&'a str) -> Wants + Send),
    ) -> Result<(), Failure> {
        daemon::logs(&self.place()?.log, options, line).await
    }

    async fn gateway_install(&self) -> Result<ServiceState, Failure> {
        daemon::install(&service(self.place()?)?).await
    }

    async fn gateway_uninstall(&self, how: Removing) -> Result<ServiceState, Failure> {
        daemon::uninstall(&service(self.place()?)?, how).await
    }

    async fn worker_run(&self, options: WorkerOptions) -> Result<(), Failure> {
        let mut flags = Vec::new();
        if let Some(parallel) = options.parallel {
            flags.push(("worker.runs_at_once".to_owned(), json!(parallel)));
        }
        if !options.offers.is_empty() {
            flags.push(("worker.offers".to_owned(), json!(options.offers)));
        }
        flags.extend(database_flag(options.database_url.as_ref()));
        let (home, settings) = self.settings_with(flags)?;
        let loaded = settings.current();
        self.begin_log(&home, &loaded.tree.logging, None)?;
        crate::worker::run(&home, &loaded.tree).await
    }

    async fn discover_providers(&self) -> Result<Vec<ProviderFound>, Failure> {
        let (_, settings) = self.settings()?;
        let env = Sources::process_variables();
        setup::discover_providers(
            &settings.current().tree.providers,
            &env,
            Arc::new(SystemClock::new()),
        )
        .await
    }

    async fn setup(&self, answers: SetupAnswers) -> Result<SetupDone, Failure> {
        let (_, settings) = self.settings()?;
        let place = self.place()?;
        let env = Sources::process_variables();
        let bench = Bench {
            place: &place,
            settings: &settings,
            env: &env,
            clock: Arc::new(SystemClock::new()),
            entropy: &OsEntropy,
        };
        setup::setup(&bench, answers).await
    }

    async fn demo(&self, options: DemoOptions, stage: &mut dyn Stage) -> Result<DemoDone, Failure> {
        demo::demo(options, stage).await
    }

    fn config_get(&self, key: Option<&str>) -> Result<Value, Failure> {
        self.settings()?.1.get(key).map_err(|e| config_fault(&e))
    }

    fn config_change(&self, key: &str, value: Option<Value>) -> Result<ConfigChanged, Failure> {
        let (home, settings) = self.settings()?;
        crate::parts::make_private_dir(&home).map_err(|e| failures::parts(&home, &e))?;
        // `5.00` is a number to a shell and an amount to us: a key that holds text takes it as text.
        let value = value.map(|value| match value {
            Value::Number(number) if settings.kind(key) == "string" => {
                Value::String(number.to_string())
            }
            other => other,
        });
        let change = settings
            .set(key, value, None)
            .map_err(|e| config_fault(&e))?;
        let path = PathBuf::from(settings.path());
        Ok(ConfigChanged {
            path,
            keys: change.keys,
            needs_restart: change.needs_restart,
        })
    }

    fn config_explain(&self, key: &str) -> Result<ConfigExplained, Failure> {
        let (_, settings) = self.settings()?;
        let told = settings.explain(key).map_err(|e| config_fault(&e))?;
        let place = told.file.map(|file| {
            told.line
                .map_or(file.clone(), |line| format!("{file}:{line}"))
        });
        Ok(ConfigExplained {
            kind: settings.kind(key),
            key: told.key,
            value: told.value,
            layer: told.layer,
            place,
            default: told.default,
            docs: told.docs,
            needs_restart: told.restart,
        })
    }

    fn config_schema(&self) -> Value {
        crate::config::schema()
    }

    fn config_path(&self) -> Result<PathBuf, Failure> {
        Ok(self.sources(Vec::new())?.1.file)
    }

    fn config_validate(&self, file: Option<&Path>) -> Result<ConfigValid, Failure> {
        let (home, mut sources) = self.sources(Vec::new())?;
        if let Some(file) = file {
            file.to_owned().clone_into(&mut sources.file);
            if !file.exists() {
                return Err(Failure::not_found("file", file.display()));
            }
        }
        let path = sources.file.clone();
        let settings = Settings::open(sources, &home).map_err(|e| failures::config(&e))?;
        Ok(ConfigValid {
            path,
            keys: settings.keys_set(),
            warnings: Vec::new(),
        })
    }

    fn config_replace(&self, seen: &str, text: &str) -> Result<ConfigChanged, Failure> {
        let (home, settings) = self.settings()?;
        crate::parts::make_private_dir(&home).map_err(|e| failures::parts(&home, &e))?;
        let change = settings
            .replace_seen(seen, text)
            .map_err(|e| config_fault(&e))?;
        let path = PathBuf::from(settings.path());
        Ok(ConfigChanged {
            path,
            keys: change.keys,
            needs_restart: change.needs_restart,
        })
    }

    async fn verify_store(&self) -> Result<Report, Failure> {
        let (home, settings) = self.settings()?;
        let is_elsewhere = settings.current().tree.store.database_url.is_some();
        if !is_elsewhere && !home.join(adjutant_store::FILE_NAME).exists() {
            return Err(
                Failure::not_found("store", home.display()).with_hint("`adjutant setup` makes one")
            );
        }
        let tree = Arc::new(settings.current().tree.clone());
        let parts = Parts::open(&home, tree)
            .await
            .map_err(|e| failures::parts(&home, &e))?;
        let found = parts
            .store
            .verify()
            .await
            .map_err(|e| failures::store(&home, &e))?;
        let mut checks: Vec<Check> = found
            .checked
            .iter()
            .map(|(what, n)| check(what.clone(), Severity::Ok, format!("{n} checked")))
            .collect();
        checks.extend(
            found
                .findings
                .iter()
                .map(|finding| check("finding", Severity::Error, finding.clone())),
        );
        Ok(Report { checks })
    }

    async fn sandbox_verify(&self, driver: Option<SandboxDriver>) -> Result<Report, Failure> {
        let (_, settings) = self.settings()?;
        let mut config = settings.current().tree.sandbox.clone();
        match driver {
            Some(SandboxDriver::Bubblewrap) => config.driver = adjutant_sandbox::Driver::Bubblewrap,
            Some(SandboxDriver::Native) => config.driver = adjutant_sandbox::Driver::Native,
            None => {}
        }
        let sandbox = adjutant_sandbox::best(&config);
        let report = sandbox.report().await;
        let mut checks: Vec<Check> = report
            .floor
            .iter()
            .map(|(name, held)| {
                let (severity, said) = if *held {
                    (Severity::Ok, "enforced")
                } else {
                    (Severity::Warning, "not enforced by this driver")
                };
                check(
                    format!("floor.{}", slug(name)),
                    severity,
                    format!("{name}: {said}"),
                )
            })
            .collect();
        if !report.available {
            let said = format!(
                "no sandbox on this machine, so commands are refused: {}",
                report.missing.join("; ")
            );
            checks.push(Check {
                fix: report.missing.first().cloned(),
                ..check("driver", Severity::Error, said)
            });
            return Ok(Report { checks });
        }
        checks.push(check("driver", Severity::Ok, report.driver));
        checks.extend(trials(&*sandbox).await?);
        Ok(Report { checks })
    }

    async fn doctor_checks(&self, fixing: Fixing) -> Result<Report, Failure> {
        let place = self.place()?;
        let (home, sources) = self.sources(Vec::new())?;
        doctor::checks(&place, &home, sources, fixing).await
    }

    fn analyse_command(&self, script: &str) -> Result<Value, Failure> {
        let home = self.home()?;
        let user = home::user_home().unwrap_or_else(|| PathBuf::from("/"));
        let workspace = home.join("workspace");
        let around = Surroundings {
            workspace: &workspace,
            cwd: &workspace,
            state_dir: &home,
            home: &user,
        };
        let analysis = analyse(script, &around);
        let parse = serde_json::to_value(&analysis.segments)
            .map_err(|e| Failure::new(Exit::Failed, "INTERNAL", e.to_string()))?;
        Ok(json!({
            "command": analysis.escaped,
            "class": analysis.class,
            "rule": analysis.rule,
            "reason": analysis.reason,
            "opaque": analysis.opaque,
            "writes": analysis.writes,
            "parse": parse,
        }))
    }
}

fn service(place: Place) -> Result<Service, Failure> {
    place.service.ok_or_else(|| {
        Failure::new(Exit::Failed, "UNSUPPORTED", "this system has no service manager that adjutant knows")
            .with_hint("start it with `adjutant gateway start`, or run `adjutant gateway run` under a supervisor")
    })
}

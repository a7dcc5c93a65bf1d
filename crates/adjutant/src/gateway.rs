//! The gateway shape: gateway and workers in one process over one state directory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::FutureExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use adjutant_cli::{Exit, Failure};
use adjutant_gateway::{CanvasFolders, Deps, Gateway, Listeners};
use adjutant_ports::files::{FileScope, Files};
use adjutant_ports::{Clock, ConfigDoor, Entropy, Models};
use adjutant_telemetry::Metrics;
use adjutant_vault::Token;

use crate::canvas::CanvasDir;
use crate::config::Settings;
use crate::daemon::PidFile;
use crate::failures;
use crate::host::told_to_stop;
use crate::parts::{Parts, limits_for};

/// How many workers, unless somebody says otherwise: each is one task, so that two can use two cores.
const WORKERS: u16 = 2;
/// How long a stop waits for everything else than the workers, which have a budget of their own, to let go.
const MARGIN: Duration = Duration::from_secs(3);

/// What this start does differently from the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Workers in this process.
    pub(crate) workers: u16,
    /// Whether other processes should find this gateway by its process id.
    pub(crate) announced: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            workers: WORKERS,
            announced: true,
        }
    }
}

/// A gateway with its workers, until it is dropped or told to stop.
pub(crate) struct Running {
    stop: CancellationToken,
    tasks: JoinSet<()>,
    pub(crate) socket: Option<std::path::PathBuf>,
    home: std::path::PathBuf,
    announced: bool,
    drain: Duration,
    // Last, so that the lock of the state directory is given back after everything else is gone.
    _parts: Arc<Parts>,
}

impl Running {
    /// Opens everything and starts to serve. Ready when this returns.
    pub(crate) async fn start(
        home: &Path,
        settings: Arc<Settings>,
        shape: Shape,
    ) -> Result<Self, Failure> {
        let loaded = settings.current();
        let config = Arc::new(loaded.tree.clone());
        crate::parts::make_private_dir(home).map_err(|e| failures::parts(home, &e))?;
        let mut parts = Parts::open(home, Arc::clone(&config))
            .await
            .map_err(|e| failures::parts(home, &e))?;
        parts
            .hold_directory()
            .map_err(|e| failures::parts(home, &e))?;
        let parts = Arc::new(parts);
        let released = parts
            .release_dead_claims()
            .await
            .map_err(|e| failures::store(home, &e))?;
        if 0 < released {
            tracing::info!(runs = released, "took over the runs of a predecessor");
        }
        let token = token(home, &*parts.doors.entropy)?;
        hide_secrets(&token);
        let listeners = Listeners::bind(&config.gateway, home)
            .await
            .map_err(|e| failures::listen(&e))?;
        let certificate = listeners.certificate();
        let (address, socket) = (listeners.address(), listeners.socket().map(Path::to_owned));
        let engine = parts
            .engine(Some(address.port()))
            .map_err(|e| failures::parts(home, &e))?;
        parts
            .announce(&engine)
            .await
            .map_err(|e| failures::parts(home, &e))?;
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let gateway = Gateway::new(
            gateway_deps(&parts, &settings, token)?,
            config.gateway.clone(),
        )
        .with_nodes(Arc::clone(&parts.doors.nodes))
        .with_canvas(Arc::clone(&parts.doors.canvas));
        let served = gateway.serve(listeners, stop.clone());
        tasks.spawn(async move {
            if let Err(error) = served.await {
                tracing::error!(%error, "the gateway ended");
            }
        });
        for _ in 0..shape.workers {
            let worker = parts.worker(engine.clone());
            let stopped = stop.clone();
            let until = async move { stopped.cancelled().await }.boxed().shared();
            tasks.spawn(worker.run(until));
        }
        if parts.is_shared() {
            let store = Arc::clone(&parts.store);
            tasks.spawn(crate::takeover::watch(store, stop.clone()));
        }
        if shape.announced {
            let said = PidFile {
                pid: std::process::id(),
                address: Some(address),
                fingerprint: certificate.map(|it| it.fingerprint.to_string()),
                socket: socket.clone(),
                database: parts.database.clone(),
                version: Some(crate::VERSION.to_owned()),
                started_at: Some(parts.doors.clock.now()),
            };
            said.write(home)
                .map_err(|e| Failure::io(PidFile::path(home).display(), &e))?;
        }
        tracing::info!(%address, workers = shape.workers, "ready");
        if shape.announced {
            tasks.spawn(settle_down(stop.clone()));
        }
        let announced = shape.announced;
        Ok(Self {
            stop,
            tasks,
            socket,
            home: home.to_owned(),
            announced,
            drain: config.worker.drain.duration(),
            _parts: parts,
        })
    }

    /// Serves until `until`, then lets go; whoever asks a second time does not want to wait.
    pub(crate) async fn serve_until(mut self, until: impl Future<Output = ()>) {
        until.await;
        tracing::info!("stopping");
        self.stop.cancel();
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        let ended = tokio::select! {
            ended = tokio::time::timeout(self.drain + MARGIN, drained) => ended.is_ok(),
            () = told_to_stop() => false,
        };
        if !ended {
            tracing::warn!("something did not let go in time; its run goes on at the next start");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        if self.announced {
            PidFile::remove_own(&self.home);
        }
    }
}

fn gateway_deps(
    parts: &Arc<Parts>,
    settings: &Arc<Settings>,
    token: Token,
) -> Result<Deps, Failure> {
    let live = Arc::clone(settings);
    Ok(Deps {
        store: Arc::clone(&parts.store),
        bus: Arc::clone(&parts.doors.bus),
        clock: Arc::clone(&parts.doors.clock) as Arc<dyn Clock>,
        entropy: Arc::clone(&parts.doors.entropy) as Arc<dyn Entropy>,
        models: Arc::clone(&parts.models) as Arc<dyn Models>,
        config: Arc::clone(settings) as Arc<dyn ConfigDoor>,
        metrics: Arc::new(Metrics::new(crate::VERSION)),
        token,
        owner: parts.owner.clone(),
        default_agent: parts.config.agents.default.clone(),
        // Read when a run is accepted, so that a cap that was just changed counts for the next run.
        limits: Arc::new(move |agent| limits_for(&live.current().tree.budget.caps(), agent)),
        workspaces: parts.home.join("workspaces"),
        control_ui: control_ui(parts)?,
        canvases: parts
            .config
            .gateway
            .canvas
            .enabled
            .then(|| Arc::new(CanvasDir::beneath(&parts.home)) as Arc<dyn CanvasFolders>),
        log_file: crate::daemon::is_daemon()
            .then(|| crate::host::log_file(&parts.home, parts.config.logging.path.as_deref())),
        version: crate::VERSION.to_owned(),
    })
}

/// The folder of the Control UI, opened once: what is in it is reached from there only.
fn control_ui(parts: &Parts) -> Result<Option<Arc<dyn Files>>, Failure> {
    let Some(dir) = &parts.config.gateway.control_ui.dir else {
        return Ok(None);
    };
    let scope = FileScope {
        workspace: dir.clone(),
        allowed_dirs: Vec::new(),
        denied: vec![parts.home.clone()],
    };
    let files = adjutant_sandbox::paths::open(&scope).map_err(|error| {
        let message = format!("the folder of the control UI cannot be opened: {error}");
        Failure::new(Exit::Config, "CONFIG", message).with_hint(
            "set `gateway.control_ui.dir` to the folder that holds its index.html, or remove it",
        )
    })?;
    Ok(Some(files))
}

/// No line of the log shows these (S45).
fn hide_secrets(token: &Token) {
    adjutant_telemetry::hide(token.expose());
    for name in crate::setup::KEYED
        .iter()
        .flat_map(|(_, names)| names.iter())
    {
        if let Ok(key) = std::env::var(name) {
            adjutant_telemetry::hide(&key);
        }
    }
}

/// The token: from the environment, else from the state directory, where it is made at the first start (S2).
fn token(home: &Path, entropy: &dyn Entropy) -> Result<Token, Failure> {
    let weak = |error: &adjutant_vault::TokenError| {
        Failure::new(Exit::Config, "CONFIG", format!("the gateway token cannot be used: {error}"))
            .with_hint("unset ADJUTANT_GATEWAY_TOKEN to use the one in the state directory, or set 32 random characters")
    };
    match std::env::var("ADJUTANT_GATEWAY_TOKEN") {
        Ok(text) => Token::parse(&text).map_err(|e| weak(&e)),
        Err(_) => Token::load_or_create(&home.join("token"), entropy).map_err(|e| weak(&e)),
    }
}

/// After the start has ended, its code is not needed any more.
async fn settle_down(stop: CancellationToken) {
    const AFTER_START: std::time::Duration = std::time::Duration::from_secs(3);
    let rest = stop.run_until_cancelled(tokio::time::sleep(AFTER_START));
    if rest.await.is_none() {
        return;
    }
    #[cfg(target_os = "linux")]
    match adjutant_sandbox::give_back_code() {
        Ok(n_bytes) => tracing::debug!(n_bytes, "gave back the code of the start"),
        Err(error) => tracing::debug!(%error, "could not give back the code of the start"),
    }
}

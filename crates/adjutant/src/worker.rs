//! The worker shape: one worker over a store that it shares, or has for itself.

use std::path::Path;
use std::sync::Arc;

use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;

use adjutant_cli::Failure;

use crate::config::Config;
use crate::failures;
use crate::host::told_to_stop;
use crate::parts::Parts;

/// Works until the process is told to stop, or the worker to drain.
pub(crate) async fn run(home: &Path, config: &Config) -> Result<(), Failure> {
    crate::parts::make_private_dir(home).map_err(|e| failures::parts(home, &e))?;
    let parts = Parts::open(home, Arc::new(config.clone()))
        .await
        .map_err(|e| failures::parts(home, &e))?;
    parts
        .release_dead_claims()
        .await
        .map_err(|e| failures::store(home, &e))?;
    let deps = parts.engine(None).map_err(|e| failures::parts(home, &e))?;
    let over = CancellationToken::new();
    let watch = parts.is_shared().then(|| {
        let store = Arc::clone(&parts.store);
        tokio::spawn(crate::takeover::watch(store, over.clone()))
    });
    let stop = async {
        told_to_stop().await;
        tracing::info!("stopping");
    };
    let worker = parts.worker(deps);
    tracing::info!(worker = %worker.id(), "ready");
    let stop = stop.boxed().shared();
    let again = async {
        stop.clone().await;
        told_to_stop().await;
        tracing::warn!("stopping at once; what is under way goes on elsewhere from its log");
    };
    tokio::select! {
        () = worker.run(stop.clone()) => {}
        () = again => {}
    }
    over.cancel();
    if let Some(watch) = watch {
        // It ends with the token, at once.
        drop(watch.await);
    }
    Ok(())
}

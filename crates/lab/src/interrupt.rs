//! Somebody wants the lab to end before it is done.

/// Waits until the process is interrupted or asked to end.
pub(crate) async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupted = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => tokio::select! {
            heard = interrupted => drop(heard),
            _heard = terminated.recv() => {}
        },
        Err(_) => drop(interrupted.await),
    }
}

//! A run goes to a worker that offers what it needs, and waits when there is none.

use crate::machine::{Site, said, until};

#[test]
fn a_run_waits_for_a_worker_that_offers_what_it_needs() {
    let Some(site) = Site::new() else { return };
    let gateway = site.machine("gateway");
    let _serving = gateway.gateway();
    let plain = site.machine("plain");
    let plain = plain.worker(&[]);
    let other = gateway.worker_of(&plain);
    let host = other["host"].as_str().unwrap();
    let itself = format!("machine:{host}");
    assert_eq!(other["offers"], serde_json::json!([itself]));

    // Nobody offers it: it waits, and says so where people look. What needs nothing is done meanwhile.
    let client = gateway.begin(&["run", "--json", "--needs", "gpu", "list the files"]);
    let waits = until("the run is not listed", || {
        let status = gateway.json(&["status"]);
        status["activeRuns"].as_array()?.first().cloned()
    });
    assert_eq!(waits["state"], "queued", "{waits}");
    assert_eq!(waits["reason"], "waits for a worker that offers gpu");
    let done = gateway.run(&["run", "--needs", &itself, "list the files"]);
    assert!(done.status.success(), "{}", said(&done));

    // Somebody comes that does.
    let able = site.machine("able");
    let able = able.worker(&["--offers", "gpu,scanner"]);
    let worker = gateway.worker_of(&able);
    let out = client.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(
        told.contains("no worker is heard of that offers gpu"),
        "{told}"
    );
    assert_eq!(
        worker["offers"],
        serde_json::json!(["gpu", itself, "scanner"])
    );
}

//! The certificate that the gateway's port shows.

use std::time::{Duration, SystemTime};

use adjutant_domain::time::Timestamp;
use adjutant_tls::{Leaf, Mode, Server, leaf};

use super::{Findings, Subject};

const ID: &str = "tls.certificate";
/// A certificate that ends within this time should have been renewed by now.
const SOON: Duration = Duration::from_secs(7 * 24 * 3_600);
const OTHER_FILES: &str =
    "put another pair into the files of `gateway.tls`; it is shown without a restart";

pub(super) fn look(subject: &Subject, found: &mut Findings) {
    let config = &subject.config.gateway.tls;
    let home = &subject.place.home;
    if config.mode == Mode::Off {
        return found.ok(ID, "none: the port is on loopback and not encrypted");
    }
    if config.mode == Mode::Files
        && let Err(error) = Server::open(config, home)
    {
        return found.error(ID, error.to_string(), OTHER_FILES);
    }
    match leaf(config, home) {
        Err(error) => found.error(
            ID,
            error.to_string(),
            "remove the file, then start the gateway",
        ),
        Ok(None) => found.ok(ID, "none yet: the gateway gets one when it starts"),
        Ok(Some(leaf)) => life(&leaf, config.mode, found),
    }
}

fn life(leaf: &Leaf, mode: Mode, found: &mut Findings) {
    let until = leaf.not_after.map_or_else(
        || "an unknown day".to_owned(),
        |it| Timestamp::from_millis(it.saturating_mul(1_000)).rfc3339(),
    );
    let fix = match mode {
        Mode::Acme => "see why in `adjutant logs`: the authority was asked and gave none",
        _ => OTHER_FILES,
    };
    let now = SystemTime::now();
    if leaf.is_expired(now) {
        found.error(ID, format!("it ended on {until}"), fix);
    } else {
        let soon = leaf.is_expired(now + SOON);
        found.expect(
            ID,
            !soon,
            format!("valid until {until}, fingerprint {}", leaf.fingerprint),
            format!("it ends on {until}"),
            fix,
        );
    }
}

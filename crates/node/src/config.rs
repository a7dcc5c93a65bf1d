//! The `[node]` section of the configuration.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::time::Span;
use adjutant_tls::Fingerprint;

use crate::endpoint::Endpoint;

/// Settings of `adjutant node`: which gateway gets what of this machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The gateway: `wss://host:18789`, or `ws://127.0.0.1:18789` on this machine. Absent means the gateway of this
    /// state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// SHA-256 of the gateway's TLS certificate, in hex. Set, no other certificate is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The name people see. Absent means the machine's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Commands and families that are never offered, such as `system.run` or `camera`.
    pub without: Vec<String>,
    /// Running programs.
    pub run: Run,
    /// Camera and screen.
    pub media: Media,
    /// Where this machine stands, if it may be told. Absent means that location is not offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// Settings of `system.run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Run {
    /// Folders a program may be started in, everything beneath included. Empty means anywhere.
    pub folders: Vec<String>,
    /// Time a program gets when the request does not say.
    pub timeout: Span,
    /// Most time a request may ask for.
    pub timeout_max: Span,
    /// Bytes kept of each output stream; the middle is cut.
    pub output_bytes: usize,
    /// Whether the gateway may change this machine's list of allowed programs.
    pub policy_from_gateway: bool,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            folders: Vec::new(),
            timeout: Span::from_secs(30),
            timeout_max: Span::from_secs(1_800),
            output_bytes: 200 << 10,
            policy_from_gateway: false,
        }
    }
}

/// Settings of `camera.*` and `screen.*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// The program that records; looked for on the path unless it is one.
    pub ffmpeg: String,
    /// Cameras beside those that are found, by name: the input arguments of `ffmpeg`, such as
    /// `["-i", "rtsp://10.0.0.9/live"]`.
    pub cameras: BTreeMap<String, Vec<String>>,
    /// Screens beside those that are found, by name: the input arguments of `ffmpeg`.
    pub screens: BTreeMap<String, Vec<String>>,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            ffmpeg: "ffmpeg".to_owned(),
            cameras: BTreeMap::new(),
            screens: BTreeMap::new(),
        }
    }
}

/// A fixed place.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Degrees north, −90 to 90.
    pub latitude: f64,
    /// Degrees east, −180 to 180.
    pub longitude: f64,
    /// How exact that is, in metres.
    #[serde(default = "near")]
    pub accuracy_meters: f64,
}

const fn near() -> f64 {
    100.0
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Key below this section.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Config {
    /// Everything that is wrong with the values.
    #[must_use]
    pub fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut say = |key: &str, message: String| {
            findings.push(Finding {
                key: key.to_owned(),
                message,
            });
        };
        if let Some(Err(error)) = self.gateway.as_deref().map(Endpoint::parse) {
            say("gateway", error.to_string());
        }
        if let Some(text) = &self.fingerprint
            && Fingerprint::parse(text).is_none()
        {
            say("fingerprint", "must be 64 hex digits".to_owned());
        }
        if let Some(name) = &self.name
            && (name.trim().is_empty() || 64 < name.chars().count())
        {
            say("name", "must have 1 to 64 characters".to_owned());
        }
        if !(1_024..=1 << 20).contains(&self.run.output_bytes) {
            say(
                "run.output_bytes",
                format!(
                    "must be between 1024 and 1048576: {}",
                    self.run.output_bytes
                ),
            );
        }
        let longest = Span::from_secs(1_800).duration();
        if self.run.timeout_max.duration().is_zero() || longest < self.run.timeout_max.duration() {
            say("run.timeout_max", "must be between 1s and 30m".to_owned());
        }
        if self.run.timeout.duration().is_zero()
            || self.run.timeout_max.duration() < self.run.timeout.duration()
        {
            say(
                "run.timeout",
                "must be between 1s and `node.run.timeout_max`".to_owned(),
            );
        }
        for folder in &self.run.folders {
            if !std::path::Path::new(folder).is_absolute() {
                say(
                    "run.folders",
                    format!("`{folder}` must be an absolute path"),
                );
            }
        }
        if self.media.ffmpeg.is_empty() {
            say("media.ffmpeg", "must name a program".to_owned());
        }
        if let Some(place) = &self.place {
            if !(-90.0..=90.0).contains(&place.latitude) {
                say("place.latitude", "must be between -90 and 90".to_owned());
            }
            if !(-180.0..=180.0).contains(&place.longitude) {
                say("place.longitude", "must be between -180 and 180".to_owned());
            }
            if !(0.0..=1e7).contains(&place.accuracy_meters) {
                say("place.accuracy_meters", "must not be negative".to_owned());
            }
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_right_and_each_wrong_value_is_named() {
        assert_eq!(Config::default().check(), vec![]);
        let wrong = Config {
            gateway: Some("ws://192.0.2.7:1".to_owned()),
            fingerprint: Some("abc".to_owned()),
            name: Some(" ".to_owned()),
            run: Run {
                folders: vec!["here".to_owned()],
                timeout: Span::from_secs(0),
                timeout_max: Span::from_secs(7_200),
                output_bytes: 1,
                ..Run::default()
            },
            place: Some(Place {
                latitude: 91.0,
                longitude: 181.0,
                accuracy_meters: -1.0,
            }),
            ..Config::default()
        };
        let keys: Vec<String> = wrong.check().into_iter().map(|it| it.key).collect();
        assert_eq!(
            keys,
            [
                "gateway",
                "fingerprint",
                "name",
                "run.output_bytes",
                "run.timeout_max",
                "run.timeout",
                "run.folders",
                "place.latitude",
                "place.longitude",
                "place.accuracy_meters"
            ]
        );
    }
}

//! The `[gateway.tls]` section of the configuration.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::certificate::Files;
use crate::fingerprint::Fingerprint;

/// Folder of the state directory for what is made here.
const FOLDER: &str = "tls";

/// Where a certificate comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// No TLS: the port is for this machine only.
    #[default]
    Off,
    /// Files of your own: `certificate` and `key`.
    Files,
    /// Made at the first start and kept in the state directory; clients pin its fingerprint.
    SelfSigned,
    /// Asked for from an authority such as Let's Encrypt, and renewed.
    Acme,
}

/// How the port is encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the certificate comes from. Needs a restart.
    pub mode: Mode,
    /// With `files`: the certificate and its chain in PEM, as a full path. Read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// With `files`: its private key in PEM without a passphrase, as a full path, not readable by everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// With `self_signed`: names and addresses to put into the certificate besides those of this machine to itself. With
    /// `acme`: the public names it is asked for.
    pub names: Vec<String>,
    /// With `acme`: from whom.
    pub acme: AcmeConfig,
}

/// Which authority a certificate is asked for from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AcmeConfig {
    /// Address of the authority's directory.
    pub directory: String,
    /// Whether you agree to the authority's terms of service. It gives nothing without.
    pub accept_terms: bool,
    /// Mail addresses to which the authority may write.
    pub contacts: Vec<String>,
    /// Certificates that vouch for the authority's own server, in PEM, as a full path. The system's when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<PathBuf>,
}

impl Default for AcmeConfig {
    fn default() -> Self {
        Self {
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            accept_terms: false,
            contacts: Vec::new(),
            authority: None,
        }
    }
}

impl AcmeConfig {
    fn check(&self) -> Vec<(&'static str, String)> {
        let mut findings = Vec::new();
        if !self.accept_terms {
            let said = "must be true: read the authority's terms of service first";
            findings.push(("accept_terms", said.to_owned()));
        }
        if !self.directory.starts_with("https://") {
            let said = format!("`{}` does not begin with https://", self.directory);
            findings.push(("directory", said));
        }
        for contact in &self.contacts {
            if !contact.contains('@') || contact.contains([' ', ':']) {
                findings.push(("contacts", format!("`{contact}` is not a mail address")));
            }
        }
        if let Some(path) = &self.authority
            && !path.is_absolute()
        {
            let said = format!("`{}` is not a full path", path.display());
            findings.push(("authority", said));
        }
        findings
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which setting, below this section.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Config {
    /// Whether the port speaks TLS.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.mode != Mode::Off
    }

    /// Checks combinations. Files are looked at when they are opened.
    #[must_use]
    pub fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut found = |key: &str, message: String| {
            findings.push(Finding {
                key: key.to_owned(),
                message,
            });
        };
        for (key, path) in [("certificate", &self.certificate), ("key", &self.key)] {
            match (self.mode, path) {
                (Mode::Files, None) => found(
                    key,
                    "is missing: `mode = \"files\"` needs `certificate` and `key`".to_owned(),
                ),
                (Mode::Files, Some(path)) if !path.is_absolute() => {
                    found(key, format!("`{}` is not a full path", path.display()));
                }
                (Mode::Files, Some(_)) | (_, None) => {}
                (_, Some(_)) => found(
                    key,
                    "counts with `mode = \"files\"` only; set that, or remove it".to_owned(),
                ),
            }
        }
        if !self.names.is_empty() && matches!(self.mode, Mode::Off | Mode::Files) {
            found(
                "names",
                "counts for certificates that are made here; set `mode`, or remove it".to_owned(),
            );
        }
        if self.mode == Mode::Acme {
            for (key, said) in self.acme.check() {
                found(&format!("acme.{key}"), said);
            }
            if self.names.is_empty() {
                found(
                    "names",
                    "is empty: name what the certificate is for".to_owned(),
                );
            }
            for name in &self.names {
                if name.parse::<std::net::IpAddr>().is_ok() || !name.contains('.') {
                    found(
                        "names",
                        format!(
                            "`{name}` is not a public name, and authorities vouch for no other"
                        ),
                    );
                }
            }
        } else if self.acme != AcmeConfig::default() {
            found(
                "acme",
                "counts with `mode = \"acme\"` only; set that, or remove it".to_owned(),
            );
        }
        for name in &self.names {
            if !is_name(name) {
                found(
                    "names",
                    format!("`{name}` is neither a host name nor an address"),
                );
            }
        }
        findings
    }

    /// Where certificate and key lie.
    pub(crate) fn files(&self, state_dir: &Path) -> Option<Files> {
        let here = |name: &str| Files {
            certificate: state_dir.join(FOLDER).join(format!("{name}.pem")),
            key: state_dir.join(FOLDER).join(format!("{name}.key")),
        };
        match self.mode {
            Mode::Off => None,
            Mode::Files => Some(Files {
                certificate: self.certificate.clone()?,
                key: self.key.clone()?,
            }),
            Mode::SelfSigned => Some(here("self-signed")),
            Mode::Acme => Some(here("acme")),
        }
    }

    /// Where the account with the authority is kept: one an authority.
    pub(crate) fn account_file(&self, state_dir: &Path) -> PathBuf {
        let which = Fingerprint::of(self.acme.directory.as_bytes()).to_string();
        let short = which.get(..12).unwrap_or(&which);
        state_dir
            .join(FOLDER)
            .join(format!("acme-account-{short}.json"))
    }
}

fn is_name(text: &str) -> bool {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    let label = |it: &str| {
        !it.is_empty()
            && it.len() <= 63
            && it
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    !text.is_empty() && text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(certificate: Option<&str>, key: Option<&str>) -> Config {
        Config {
            mode: Mode::Files,
            certificate: certificate.map(PathBuf::from),
            key: key.map(PathBuf::from),
            ..Config::default()
        }
    }

    #[test]
    fn an_authority_is_asked_for_public_names_with_consent() {
        let mut config = Config {
            mode: Mode::Acme,
            names: vec!["home.example".to_owned()],
            ..Config::default()
        };
        let keys = |config: &Config| {
            let found = config.check().into_iter();
            found.map(|it| it.key).collect::<Vec<_>>()
        };
        assert_eq!(keys(&config), ["acme.accept_terms"]);
        config.acme.accept_terms = true;
        assert_eq!(keys(&config), Vec::<String>::new());
        config.names = vec!["192.0.2.7".to_owned(), "localhost".to_owned()];
        assert_eq!(keys(&config), ["names", "names"]);
        config.names.clear();
        config.acme.directory = "http://ca.example/".to_owned();
        assert_eq!(keys(&config), ["acme.directory", "names"]);
        config.mode = Mode::Off;
        assert_eq!(keys(&config), ["acme"]);
    }

    #[test]
    fn own_files_are_two_full_paths() {
        assert_eq!(files(Some("/c.pem"), Some("/k.pem")).check(), vec![]);
        assert_eq!(files(None, None).check().len(), 2);
        assert_eq!(files(Some("c.pem"), Some("/k.pem")).check().len(), 1);
    }

    #[test]
    fn a_setting_of_another_mode_is_refused_instead_of_ignored() {
        let mut config = files(Some("/c.pem"), Some("/k.pem"));
        config.mode = Mode::SelfSigned;
        assert_eq!(config.check().len(), 2);
        let named = Config {
            names: vec!["box.lan".to_owned()],
            ..Config::default()
        };
        assert_eq!(named.check().len(), 1);
    }

    #[test]
    fn names_are_host_names_and_addresses() {
        let with = |name: &str| Config {
            mode: Mode::SelfSigned,
            names: vec![name.to_owned()],
            ..Config::default()
        };
        for good in ["box.lan", "192.0.2.7", "2001:db8::1", "a-b"] {
            assert_eq!(with(good).check(), vec![], "{good}");
        }
        for bad in ["", "a b", "a/b", "*.lan", "a..b", "https://a"] {
            assert_eq!(with(bad).check().len(), 1, "{bad}");
        }
    }
}

//! The database's address: what the URL says, and how the connection is protected.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::postgres::error::PostgresError;

/// How the names of this program's connections begin at the server, whatever the URL says: whoever wants a database for
/// itself looks for them.
pub(crate) const APPLICATION: &str = "adjutant";

/// How much of TLS is asked for, in libpq's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Disable,
    /// Encrypted if the server can; nobody's name is checked.
    Prefer,
    /// Encrypted; the certificate is checked only against `sslrootcert`, if there is one, and not for its name.
    Require,
    /// Encrypted, and the certificate comes from `sslrootcert`, whatever its name. Without one, as `VerifyFull`: the
    /// authorities of the system have certified half the world.
    VerifyCa,
    /// Encrypted, and the server is who the URL says.
    VerifyFull,
}

/// An address that can be connected to. Its `Debug` shows no password.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) config: Config,
    pub(crate) tls: MakeRustlsConnect,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Address").field(&self.shown()).finish()
    }
}

fn wrong(reason: &str) -> PostgresError {
    PostgresError::Url {
        reason: reason.to_owned(),
    }
}

impl Address {
    /// Reads `postgresql://user:password@host:port/database?option=value`.
    pub(crate) fn parse(url: &str) -> Result<Self, PostgresError> {
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(wrong("it does not begin with `postgresql://`"));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut root, mut kept) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let decoded = url::form_urlencoded::parse(pair.as_bytes()).next();
            match decoded.as_ref().map(|(key, value)| (&**key, &**value)) {
                Some(("sslmode", value)) => mode = Some(mode_of(value)?),
                Some(("sslrootcert", value)) => root = Some(value.to_owned()),
                // What poolers' pages recommend for other drivers. This one keeps no statement across transactions.
                Some(("pgbouncer" | "statement_cache_mode" | "prepared_statements", _)) => {}
                _ => kept.push(pair),
            }
        }
        let plain = if kept.is_empty() {
            base.to_owned()
        } else {
            format!("{base}?{}", kept.join("&"))
        };
        let mut config: Config = plain.parse().map_err(|_unshown: tokio_postgres::Error| {
            wrong("it is not of the form `postgresql://user:password@host:port/database?option=value`")
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(wrong("it names no host"));
        }
        let mode = mode.unwrap_or_else(|| {
            if config.get_hosts().iter().all(is_here) {
                Mode::Prefer
            } else {
                Mode::VerifyFull
            }
        });
        config.ssl_mode(match mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        });
        let named = config.get_application_name().unwrap_or_default();
        let name = if named.starts_with(APPLICATION) {
            named.to_owned()
        } else {
            format!("{APPLICATION} {named}").trim_end().to_owned()
        };
        config.application_name(name);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(std::time::Duration::from_secs(10));
        }
        config.keepalives_idle(std::time::Duration::from_secs(30));
        let tls = MakeRustlsConnect::new(tls(mode, root.map(PathBuf::from))?);
        Ok(Self { config, tls })
    }

    /// Host and database; no user and no password.
    pub(crate) fn shown(&self) -> String {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => String::new(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        format!(
            "{host}:{port}/{}",
            self.config.get_dbname().unwrap_or_default()
        )
    }
}

fn mode_of(value: &str) -> Result<Mode, PostgresError> {
    match value {
        "disable" => Ok(Mode::Disable),
        "allow" | "prefer" => Ok(Mode::Prefer),
        "require" => Ok(Mode::Require),
        "verify-ca" => Ok(Mode::VerifyCa),
        "verify-full" => Ok(Mode::VerifyFull),
        _ => Err(wrong(
            "`sslmode` must be disable, prefer, require, verify-ca or verify-full",
        )),
    }
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|ip| ip.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn tls(mode: Mode, root: Option<PathBuf>) -> Result<ClientConfig, PostgresError> {
    let unusable = |reason: String| PostgresError::Tls { reason };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?;
    let is_named = root
        .as_ref()
        .is_some_and(|path| path.as_os_str() != "system");
    let mut authority = None;
    if let Some(path) = root.filter(|_| is_named && mode != Mode::Disable) {
        let mut roots = RootCertStore::empty();
        let unreadable = |error: &dyn std::fmt::Display| PostgresError::Tls {
            reason: format!("cannot read `{}`: {error}", path.display()),
        };
        let certificates =
            CertificateDer::pem_file_iter(&path).map_err(|error| unreadable(&error))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots
                .add(certificate)
                .map_err(|error| unusable(error.to_string()))?;
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| unusable(error.to_string()))?;
        if mode == Mode::VerifyFull {
            return Ok(builder.with_webpki_verifier(verifier).with_no_client_auth());
        }
        authority = Some(verifier);
    } else if matches!(mode, Mode::VerifyCa | Mode::VerifyFull) {
        return Ok(builder
            .with_platform_verifier()
            .map_err(|error| unusable(error.to_string()))?
            .with_no_client_auth());
    }
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyName {
            authority,
            provider,
        }))
        .with_no_client_auth())
}

/// Judges a certificate by less than its name: by the authority it comes from (`sslmode=verify-ca`), or by nothing, so that
/// nobody listens in and nobody is asked who they are (`require`).
#[derive(Debug)]
struct AnyName {
    authority: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(authority) = &self.authority else {
            return Ok(ServerCertVerified::assertion());
        };
        match authority.verify_server_cert(certificate, between, name, ocsp, now) {
            // The name is looked at last: the chain, the time and the use were good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn mode(url: &str) -> SslMode {
        Address::parse(url).unwrap().config.get_ssl_mode()
    }

    #[test]
    fn a_server_elsewhere_has_to_prove_who_it_is_unless_the_url_says_less() {
        assert_eq!(mode("postgresql://u:p@db.example.com/x"), SslMode::Require);
        assert_eq!(mode("postgresql://u:p@127.0.0.1/x"), SslMode::Prefer);
        assert_eq!(mode("postgresql://u@/x?host=%2Frun%2Fpg"), SslMode::Prefer);
        let modes = [
            ("disable", SslMode::Disable),
            ("prefer", SslMode::Prefer),
            ("require", SslMode::Require),
            ("verify-full", SslMode::Require),
        ];
        for (word, expected) in modes {
            let url = format!("postgresql://u:p@db.example.com/x?sslmode={word}");
            assert_eq!(mode(&url), expected);
        }
    }

    #[test]
    fn a_connection_is_known_as_ours_whatever_name_the_url_gives_it() {
        let name = |url: &str| {
            let address = Address::parse(url).unwrap();
            address.config.get_application_name().map(str::to_owned)
        };
        assert_eq!(name("postgresql://u@h/x").as_deref(), Some("adjutant"));
        let named = "postgresql://u@h/x?application_name=";
        assert_eq!(
            name(&format!("{named}kitchen")).as_deref(),
            Some("adjutant kitchen")
        );
        assert_eq!(
            name(&format!("{named}adjutant-kitchen")).as_deref(),
            Some("adjutant-kitchen")
        );
    }

    // covers: S45
    #[test]
    fn nothing_that_is_shown_has_the_password() {
        let address = Address::parse("postgresql://me:hunter2@db.example.com:6543/x").unwrap();
        assert_eq!(address.shown(), "db.example.com:6543/x");
        let wrong = [
            "postgresql://me:hunter2@db:notaport/x",
            "postgresql://me:hunter2@db/x?sslmode=hunter2",
            "postgresql://me:hunter2@db/x?hunter2=1",
            "mysql://me:hunter2@db/x",
            "postgresql://me:hunter2@db/x?sslrootcert=/nowhere/at/all",
        ];
        let mut shown = format!("{address:?}");
        for url in wrong {
            shown.push_str(&Address::parse(url).unwrap_err().to_string());
        }
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

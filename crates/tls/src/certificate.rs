//! A certificate with its key, as it lies on disk.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::config::Config;
use crate::fingerprint::Fingerprint;
use crate::platform;

/// Bytes of a certificate or key file. A chain of five with comments is a tenth of this.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("the TLS file `{}` cannot be used: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("the TLS file `{}` cannot be used: {reason}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The key file can be read by everybody.
    #[error("the TLS key `{}` can be read by everybody (mode {mode:o}); run `chmod 640` or `chmod 600` on it", path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A certificate could not be made.
    #[error("a TLS certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// What was made cannot be used.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// What is told about a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// What clients pin.
    pub fingerprint: Fingerprint,
    /// Valid until, in seconds since 1970. None: the certificate does not say it in a form that is understood.
    pub not_after: Option<i64>,
    /// Valid from, likewise.
    pub not_before: Option<i64>,
    /// Host names it is for.
    pub names: Vec<String>,
}

impl Leaf {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        let fingerprint = Fingerprint::of(certificate);
        let Ok((_, read)) = X509Certificate::from_der(certificate) else {
            return Self {
                fingerprint,
                not_after: None,
                not_before: None,
                names: Vec::new(),
            };
        };
        let alternatives = read.subject_alternative_name().ok().flatten();
        let names = alternatives
            .into_iter()
            .flat_map(|it| &it.value.general_names)
            .filter_map(|it| match it {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            })
            .collect();
        Self {
            fingerprint,
            not_after: Some(read.validity().not_after.timestamp()),
            not_before: Some(read.validity().not_before.timestamp()),
            names,
        }
    }

    /// Whether it is past its end.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.not_after.is_some_and(|end| end < seconds(now))
    }

    /// Whether two thirds of its life are over, as authorities ask for.
    pub(crate) fn is_due(&self, now: SystemTime) -> bool {
        match (self.not_before, self.not_after) {
            (Some(begin), Some(end)) => end - (end - begin) / 3 <= seconds(now),
            _ => true,
        }
    }
}

fn seconds(moment: SystemTime) -> i64 {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The certificate that a gateway with `config` over `state_dir` shows, if there is one. Makes none.
///
/// # Errors
/// [`CertificateError`] when it is there and cannot be read.
pub fn leaf(config: &Config, state_dir: &Path) -> Result<Option<Leaf>, CertificateError> {
    let Some(files) = config.files(state_dir) else {
        return Ok(None);
    };
    match read(&files.certificate) {
        Ok(text) => chain(&files.certificate, &text).map(|it| it.first().map(Leaf::of)),
        Err(CertificateError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Files {
    /// Reads both and checks that they belong together.
    pub(crate) fn load(&self, provider: &CryptoProvider) -> Result<Loaded, CertificateError> {
        let content = |path: &Path, reason: String| CertificateError::Content {
            path: path.to_owned(),
            reason,
        };
        let chain = chain(&self.certificate, &read(&self.certificate)?)?;
        if let Some(mode) = std::fs::metadata(&self.key)
            .ok()
            .and_then(|it| platform::open_to_all(&it))
        {
            let path = self.key.clone();
            return Err(CertificateError::Exposed { path, mode });
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|error| {
            let reason = format!("it holds no private key in PEM without a passphrase: {error}");
            content(&self.key, reason)
        })?;
        let Some(first) = chain.first() else {
            return Err(content(&self.certificate, "it is empty".to_owned()));
        };
        let leaf = Leaf::of(first);
        let certified = CertifiedKey::from_der(chain, key, provider)
            .map_err(|error| content(&self.key, unfit(&error)))?;
        Ok(Loaded {
            certified: Arc::new(certified),
            leaf,
        })
    }

    /// Writes both, whole or not at all, for the owner alone. The key first: a certificate without its key is refused
    /// at the next look, a key without its certificate is not noticed.
    pub(crate) fn store(&self, certificate: &str, key: &str) -> Result<(), CertificateError> {
        write(&self.key, key.as_bytes())?;
        write(&self.certificate, certificate.as_bytes())
    }

    /// Whether both are there.
    pub(crate) fn exist(&self) -> bool {
        self.certificate.exists() && self.key.exists()
    }
}

impl Loaded {
    /// One that was just made, in no file.
    pub(crate) fn of(
        made: &rcgen::Certificate,
        key: &rcgen::KeyPair,
        provider: &CryptoProvider,
    ) -> Result<Self, rustls::Error> {
        let der = made.der().clone();
        let leaf = Leaf::of(&der);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        // Not `from_der`: its check that both belong together does not know the extension of a proof for an authority.
        let key = provider.key_provider.load_private_key(key)?;
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(vec![der], key)),
            leaf,
        })
    }
}

/// A certificate that can be shown.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) leaf: Leaf,
}

fn unfit(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            "it is not the key of the certificate; both must come from the same order".to_owned()
        }
        other => other.to_string(),
    }
}

/// The certificates of a PEM file.
pub(crate) fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    chain(path, &read(path)?)
}

fn chain(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let content = |reason: String| CertificateError::Content {
        path: path.to_owned(),
        reason,
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| content(format!("it is not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(content("it holds no certificate in PEM".to_owned()));
    }
    Ok(chain)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let io = |source| CertificateError::Io {
        path: path.to_owned(),
        source,
    };
    let mut text = Vec::new();
    let file = File::open(path).map_err(io)?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(io)?;
    if FILE_BYTES_MAX < u64::try_from(text.len()).unwrap_or(u64::MAX) {
        return Err(CertificateError::Content {
            path: path.to_owned(),
            reason: format!("it is larger than {FILE_BYTES_MAX} bytes"),
        });
    }
    Ok(text)
}

/// Writes a file beside `path` and moves it there.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), CertificateError> {
    let io = |source| CertificateError::Io {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        platform::folder_for_owner(DirBuilder::new().recursive(true))
            .create(folder)
            .map_err(io)?;
    }
    let new = path.with_extension("new");
    // A file that was left behind may have looser bits.
    drop(std::fs::remove_file(&new));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let mut file = platform::for_owner(&mut options).open(&new).map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    file.sync_all().map_err(io)?;
    std::fs::rename(&new, path).map_err(io)
}

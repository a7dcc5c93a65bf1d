//! This machine's device key: made once, kept in a file only the owner can read, used to sign a gateway's nonce.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroize as _;

use adjutant_ports::clock::Entropy;

use crate::device::{DeviceClaim, PayloadVersion};
use crate::digest::digest;

/// Why a device key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Others can read the file (S48).
    #[error("{path} can be read by others (mode {mode:o}); run `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds something else.
    #[error("{path} does not hold a device key; move it away to get a new one")]
    Unreadable {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("{path} cannot be used: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A device's key pair. The private half is never printed and wiped on drop.
pub struct DeviceIdentity(SigningKey);

impl std::fmt::Debug for DeviceIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceIdentity({})", self.id())
    }
}

impl DeviceIdentity {
    /// The key pair of a seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// Reads the key at `path`; makes one, readable by the owner only, when there is no such file.
    ///
    /// # Errors
    /// [`IdentityError`]; an existing file is never replaced.
    pub fn load_or_create(path: &Path, entropy: &dyn Entropy) -> Result<Self, IdentityError> {
        match Self::load(path) {
            Err(IdentityError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                let mut seed = [0u8; 32];
                seed[..16].copy_from_slice(&entropy.next_u128().to_le_bytes());
                seed[16..].copy_from_slice(&entropy.next_u128().to_le_bytes());
                let made = Self::from_seed(seed);
                seed.zeroize();
                match made.create(path) {
                    Err(IdentityError::Io { source, .. })
                        if source.kind() == ErrorKind::AlreadyExists =>
                    {
                        Self::load(path)
                    }
                    other => other.map(|()| made),
                }
            }
            other => other,
        }
    }

    /// Reads the key at `path`.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let io = |source| IdentityError::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = std::fs::File::open(path).map_err(io)?;
        check_mode(path, &file)?;
        let mut text = String::new();
        (&mut file).take(64).read_to_string(&mut text).map_err(io)?;
        let seed = URL_SAFE_NO_PAD.decode(text.trim_end());
        text.zeroize();
        let mut seed: [u8; 32] = seed.ok().and_then(|it| it.try_into().ok()).ok_or_else(|| {
            IdentityError::Unreadable {
                path: path.to_owned(),
            }
        })?;
        let read = Self::from_seed(seed);
        seed.zeroize();
        Ok(read)
    }

    fn create(&self, path: &Path) -> Result<(), IdentityError> {
        let io = |source| IdentityError::Io {
            path: path.to_owned(),
            source,
        };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let mut file = crate::platform::for_owner(&mut options)
            .open(path)
            .map_err(io)?;
        let mut text = URL_SAFE_NO_PAD.encode(self.0.as_bytes());
        text.push('\n');
        let written = file.write_all(text.as_bytes());
        text.zeroize();
        written.map_err(io)?;
        file.sync_all().map_err(io)
    }

    /// The device's name: the hash of its public key.
    #[must_use]
    pub fn id(&self) -> String {
        digest(self.0.verifying_key().as_bytes())
    }

    /// The public key as unpadded base64url.
    #[must_use]
    pub fn public_key(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.verifying_key().as_bytes())
    }

    /// The signature over what `claim` says, as unpadded base64url. `claim.signature` and `claim.nonce` are not read.
    #[must_use]
    pub fn sign(&self, claim: &DeviceClaim<'_>, version: PayloadVersion, nonce: &str) -> String {
        let signature = self.0.sign(claim.payload(version, nonce).as_bytes());
        URL_SAFE_NO_PAD.encode(signature.to_bytes())
    }
}

fn check_mode(path: &Path, file: &std::fs::File) -> Result<(), IdentityError> {
    let exposed = crate::platform::exposed(file).map_err(|source| IdentityError::Io {
        path: path.to_owned(),
        source,
    })?;
    match exposed {
        None => Ok(()),
        Some(mode) => Err(IdentityError::Exposed {
            path: path.to_owned(),
            mode,
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::device::{NonceRule, verify_device};

    struct Fixed;

    impl Entropy for Fixed {
        fn next_u128(&self) -> u128 {
            0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100
        }
    }

    fn worked() -> DeviceIdentity {
        let mut seed = [0u8; 32];
        for (at, byte) in seed.iter_mut().enumerate() {
            *byte = u8::try_from(at).unwrap();
        }
        DeviceIdentity::from_seed(seed)
    }

    #[test]
    fn the_worked_vector_of_the_protocol_is_signed_to_the_letter() {
        // covers: D5
        let key = worked();
        let (id, public_key) = (key.id(), key.public_key());
        let claim = DeviceClaim {
            id: &id,
            public_key: &public_key,
            signature: "",
            signed_at: 1_737_264_000_000,
            nonce: None,
            client_id: "node-host",
            client_mode: "node",
            role: "node",
            scopes: &[],
            token: "",
            platform: "linux",
            device_family: "",
        };
        let nonce = "7b0a2f2e-5f3c-4d5e-9a61-0c8c5c1d2e3f";
        assert_eq!(
            key.sign(&claim, PayloadVersion::V2, nonce),
            "7iFTp5CHlD_k5XRatB2wUH2e3hgNrSCBixbtyVMhLGkIkwv9iVgGbOoGIZps5eO2AoUuNjQEknMyCgfdZUsVAQ"
        );
        let signature = key.sign(&claim, PayloadVersion::V3, nonce);
        let signed = DeviceClaim {
            signature: &signature,
            nonce: Some(nonce),
            ..claim
        };
        assert!(verify_device(&signed, nonce, claim.signed_at, NonceRule::Required).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn the_key_file_is_for_the_owner_only_and_an_exposed_or_odd_one_is_refused() {
        // covers: S48
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("device.key");
        let made = DeviceIdentity::load_or_create(&path, &Fixed).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let again = DeviceIdentity::load_or_create(&path, &Fixed).unwrap();
        assert_eq!(made.id(), again.id());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            DeviceIdentity::load_or_create(&path, &Fixed),
            Err(IdentityError::Exposed { .. })
        ));
        let odd = dir.path().join("odd");
        std::fs::write(&odd, "not a key").unwrap();
        std::fs::set_permissions(&odd, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(
            DeviceIdentity::load_or_create(&odd, &Fixed),
            Err(IdentityError::Unreadable { .. })
        ));
    }

    #[test]
    fn a_key_does_not_print_its_private_half() {
        // covers: S45
        let key = worked();
        assert_eq!(format!("{key:?}"), format!("DeviceIdentity({})", key.id()));
    }
}

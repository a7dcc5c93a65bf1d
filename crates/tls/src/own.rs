//! A certificate that nobody but us vouches for: clients know it by its fingerprint.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use crate::certificate::{CertificateError, Files};

/// Until when it is valid. Pins outlive everything else, so an end in sight would only lock people out.
const LAST_YEAR: i32 = 2055;
const FIRST_YEAR: i32 = 2025;

/// Names of this machine to itself, which every certificate of ours carries.
const HERE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Makes a certificate for `names` and stores it, unless there is one.
pub(crate) fn make_unless_there(files: &Files, names: &[String]) -> Result<(), CertificateError> {
    if files.exist() {
        return Ok(());
    }
    let (certificate, key) = make(names)?;
    files.store(&certificate.pem(), &key.serialize_pem())
}

/// A fresh one.
pub(crate) fn make(names: &[String]) -> Result<(rcgen::Certificate, KeyPair), CertificateError> {
    let mut all: Vec<String> = HERE.iter().map(|it| (*it).to_owned()).collect();
    all.extend(
        names
            .iter()
            .filter(|it| !HERE.contains(&it.as_str()))
            .cloned(),
    );
    let mut params = CertificateParams::new(all)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, "adjutant gateway");
    params.distinguished_name = subject;
    params.not_before = rcgen::date_time_ymd(FIRST_YEAR, 1, 1);
    params.not_after = rcgen::date_time_ymd(LAST_YEAR, 1, 1);
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?, key))
}

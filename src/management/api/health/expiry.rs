//! Certificates of this node that end soon.

use std::path::Path;

use serde_json::{Value, json};
use x509_parser::pem::Pem;

use crate::config::{CertificateFiles, Config};

const DAY_S: i64 = 24 * 3600;

/// Certificates that end within so many days, or have ended.
pub(super) fn within(config: &Config, days: i64) -> Vec<Value> {
    let Some(tls) = &config.tls else { return Vec::new() };
    let files = tls.certificates.iter().map(|named| &named.files).chain([&tls.certificate]);
    let own = files.map(|CertificateFiles { certificate, .. }| certificate.as_path());
    let all = own.chain(tls.ca.as_deref());
    all.flat_map(|file| ending(file, days)).collect()
}

fn ending(file: &Path, days: i64) -> Vec<Value> {
    let Ok(bytes) = std::fs::read(file) else { return Vec::new() };
    let until = x509_parser::time::ASN1Time::now().timestamp().saturating_add(days.saturating_mul(DAY_S));
    let mut found = Vec::new();
    for pem in Pem::iter_from_buffer(&bytes).flatten() {
        let Ok(certificate) = pem.parse_x509() else { continue };
        let end = certificate.validity().not_after;
        if end.timestamp() <= until {
            found.push(json!({
                "subject": certificate.subject().to_string(),
                "file": file.display().to_string(),
                "expires_on": end.to_string(),
            }));
        }
    }
    found
}

//! PEM files to certificates and keys.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A file that is not fit for use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileProblem {
    file: PathBuf,
    reason: String,
}

impl FileProblem {
    pub(crate) fn new(file: &Path, reason: &dyn fmt::Display) -> Self {
        Self { file: file.to_owned(), reason: reason.to_string() }
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

/// The certificates of a file, at least one.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| FileProblem::new(file, &error))?;
    if found.is_empty() { Err(FileProblem::new(file, &"it holds no certificate")) } else { Ok(found) }
}

/// The certificates of a file as authorities.
pub(crate) fn authorities(file: &Path) -> Result<RootCertStore, FileProblem> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| FileProblem::new(file, &error))?;
    }
    Ok(roots)
}

/// The private key of a file.
pub(crate) fn key(file: &Path) -> Result<PrivateKeyDer<'static>, FileProblem> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| FileProblem::new(file, &error))
}

/// What tells whether a file, or what a link leads to, is another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// A file that is not there has the empty stamp.
    pub(super) fn of(file: &Path) -> Self {
        let stamp = |found: fs::Metadata| Self {
            inode: found.ino(),
            length: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
        };
        fs::metadata(file).map(stamp).unwrap_or_default()
    }
}

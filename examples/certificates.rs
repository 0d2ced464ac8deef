//! Certificates to try TLS with: an authority, and what it has signed, as PEM files in a folder.
//!
//! scripts/certificates DIR [NAME...]; names are those of the server, localhost and 127.0.0.1 if there are none.
//! Nothing of this is for use where it matters: everybody who reads the folder has the authority's key.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

type Failure = Box<dyn Error>;
type Authority = CertifiedIssuer<'static, KeyPair>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("say where to: scripts/certificates DIR [NAME...]")?;
    let folder = Path::new(&folder);
    let mut names: Vec<String> = arguments.collect();
    if names.is_empty() {
        names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    }
    fs::create_dir_all(folder)?;
    let authority = authority("Warren test authority")?;
    fs::write(folder.join("ca.pem"), authority.pem())?;
    write(folder, "server", &authority, params("server", &names)?)?;
    write(folder, "client", &authority, params("client", &["client.example".to_owned()])?)?;
    let mut expired = params("expired", &names)?;
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2020, 12, 31);
    write(folder, "expired", &authority, expired)?;
    let stranger = self::authority("Another authority")?;
    write(folder, "stranger", &stranger, params("stranger", &names)?)?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "In {}: ca.pem; server, client and expired, signed by it; stranger, signed by another.",
        folder.display()
    )?;
    writeln!(
        out,
        "[tls]\nbind = \"0.0.0.0:5671\"\ncertificate = {:?}\nkey = {:?}",
        folder.join("server.pem"),
        folder.join("server.key")
    )?;
    Ok(())
}

fn authority(name: &str) -> Result<Authority, Failure> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn params(name: &str, names: &[String]) -> Result<CertificateParams, Failure> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn write(folder: &Path, name: &str, authority: &Authority, params: CertificateParams) -> Result<(), Failure> {
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    fs::write(folder.join(name).with_extension("pem"), certificate.pem())?;
    fs::write(folder.join(name).with_extension("key"), key.serialize_pem())?;
    Ok(())
}

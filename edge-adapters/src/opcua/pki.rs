//! The folder of certificates: which servers are trusted, and who this side is.
//!
//! | folder | what lies there |
//! |---|---|
//! | `own/` | `cert.der`, the certificate of this application; servers must trust it |
//! | `private/` | `private.pem`, its key, readable by its owner alone |
//! | `trusted/` | certificates of servers, `.der` or `.pem`, that are trusted, under any name |
//! | `rejected/` | certificates of servers that came and were not trusted; move one to `trusted/` to trust it |
//!
//! The first secured connection makes the folders, a key and a self-signed certificate with the application URI in it. A key
//! that has no certificate gets one: it is what a power cut at that moment leaves. A certificate without its key is never
//! replaced: a person put it there.
//!
//! A server's certificate must be in `trusted/`, or its thumbprint among the pinned ones; be valid at this moment; carry
//! the application URI that the server says it has; have a key as long as the policy wants it; and, unless it is pinned,
//! name the host that is dialled. Chains and revocation lists are not looked at: each server is trusted by itself.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use opcua::core::sync::RwLock;
use opcua::crypto::{CertificateStore, PrivateKey, SecurityPolicy, X509, X509Data};
use opcua::types::ByteString;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::pem::LineEnding;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::security::wrong;
use crate::adapter::Fault;

/// Bits of the key of a self-signed certificate: what all policies take.
const KEY_BITS: u32 = 2_048;
/// A gateway in a cabinet is replaced before.
const VALID_DAYS: u32 = 20 * 365;
/// Certificates kept in `rejected/`: whoever makes new ones for each connection does not fill the disk.
const REJECTED_MAX: usize = 64;
/// Certificates looked at in `trusted/`.
const TRUSTED_MAX: usize = 1_024;
/// Longest certificate that is read.
const CERTIFICATE_BYTES_MAX: u64 = 64 * 1024;

/// Held while a folder is looked at and furnished: devices share it, and connect for the first time at one moment. Each would
/// make a pair of its own, and what remained could be the key of one and the certificate of another.
static FURNISHING: Mutex<()> = Mutex::new(());

/// The folder, and the servers trusted without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pki {
    /// The folder.
    pub folder: PathBuf,
    /// SHA-1 of the DER form of a server's certificate (OPC 10000-6, 6.2.3), in lower-case hexadecimal.
    pub thumbprints: Vec<String>,
    /// For a certificate that is made here.
    pub application_uri: String,
}

/// The certificate of this side, with its key.
#[derive(Clone)]
pub(crate) struct Own {
    pub(crate) certificate: X509,
    pub(crate) der: ByteString,
    pub(crate) key: PrivateKey,
    pub(crate) application_uri: String,
}

/// What a certificate says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Names {
    uris: Vec<String>,
    hosts: Vec<String>,
}

impl Pki {
    /// For the library, which reads certificate and key of this side itself.
    pub(crate) fn store(&self) -> Arc<RwLock<CertificateStore>> {
        Arc::new(RwLock::new(CertificateStore::new(&self.folder)))
    }

    fn file(&self, folder: &str, name: &str) -> PathBuf {
        self.folder.join(folder).join(name)
    }

    /// Reads certificate and key of this side, and makes them if there are none. May take seconds then.
    pub(crate) fn own(&self) -> Result<Own, Fault> {
        let (certificate, key) = (self.file("own", "cert.der"), self.file("private", "private.pem"));
        let alone = FURNISHING.lock().unwrap_or_else(PoisonError::into_inner);
        match (certificate.exists(), key.exists()) {
            (true, true) => {}
            (false, has_key) => self.bootstrap(has_key).map_err(|why| {
                wrong(format!("no certificate could be made in {}: {why}", self.folder.display()))
            })?,
            (true, false) => {
                let (certificate, key) = (certificate.display(), key.display());
                return Err(wrong(format!(
                    "there is {certificate}, but no {key}: put its key there, or remove the certificate, and a new pair is \
                     made, which servers must trust anew"
                )));
            }
        }
        drop(alone);
        let own = CertificateStore::read_cert(&certificate).map_err(wrong)?;
        let key = CertificateStore::read_pkey(&key).map_err(wrong)?;
        let der = own.as_byte_string();
        let names = names(der.as_ref()).unwrap_or_default();
        let Some(application_uri) = names.uris.into_iter().next() else {
            let certificate = certificate.display();
            return Err(wrong(format!(
                "{certificate} carries no application URI among its alternative names"
            )));
        };
        Ok(Own { certificate: own, der, key, application_uri })
    }

    fn folders(&self) -> io::Result<()> {
        for folder in ["own", "trusted", "rejected"] {
            fs::create_dir_all(self.folder.join(folder))?;
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(self.folder.join("private"))
    }

    /// Makes a self-signed certificate, and its key too if there is none.
    fn bootstrap(&self, has_key: bool) -> Result<(), String> {
        let described = X509Data {
            key_size: KEY_BITS,
            common_name: "Selvedge gateway".to_owned(),
            organization: "Selvedge".to_owned(),
            organizational_unit: String::new(),
            country: String::new(),
            state: String::new(),
            alt_host_names: X509Data::alt_host_names(&self.application_uri, None, false, true, false),
            certificate_duration_days: VALID_DAYS,
        };
        self.folders().map_err(|error| error.to_string())?;
        let file = self.file("private", "private.pem");
        let certificate = if has_key {
            let key = CertificateStore::read_pkey(&file).map_err(|_| {
                format!("{} is no RSA key in PEM form; remove it, and a new one is made", file.display())
            })?;
            X509::from_pkey(&key, &described)?
        } else {
            let (certificate, key) = X509::cert_and_pkey(&described)?;
            let pem = key.to_der().and_then(|der| Ok(der.to_pem("PRIVATE KEY", LineEnding::LF)?));
            let pem = pem.map_err(|error| error.to_string())?;
            // The key first: a certificate without a key would be taken for somebody's mistake.
            write_new(&file, pem.as_bytes(), 0o600).map_err(|error| error.to_string())?;
            certificate
        };
        write_new(&self.file("own", "cert.der"), certificate.as_byte_string().as_ref(), 0o644)
            .map_err(|error| error.to_string())?;
        let made = if has_key { "a self-signed certificate" } else { "a key and a self-signed certificate" };
        tracing::info!(folder = %self.folder.display(), "made {made} for OPC-UA");
        Ok(())
    }

    /// Is this the server that is meant?
    pub(crate) fn check(
        &self,
        der: &ByteString,
        host: &str,
        application_uri: &str,
        policy: SecurityPolicy,
    ) -> Result<(), Fault> {
        let certificate = X509::from_byte_string(der)
            .map_err(|_| wrong("the server sent no certificate that can be read".to_owned()))?;
        let thumbprint = certificate.thumbprint().as_hex_string();
        let is_pinned = self.thumbprints.contains(&thumbprint);
        if !is_pinned && !self.is_trusted(der.as_ref()) {
            return Err(self.reject(der.as_ref(), &certificate, &thumbprint));
        }
        let it = format!("the server's certificate {thumbprint}");
        certificate
            .is_time_valid(&std::time::SystemTime::now().into())
            .map_err(|error| wrong(format!("{it}: {error}; the gateway's own clock may be wrong too")))?;
        if !certificate.key_length().is_ok_and(|bits| policy.is_valid_keylength(bits)) {
            return Err(wrong(format!("{it} has a key of a length that {} does not allow", policy.to_str())));
        }
        let Some(names) = names(der.as_ref()) else {
            return Err(wrong(format!("{it} has alternative names that cannot be read")));
        };
        if !names.uris.iter().any(|uri| uri == application_uri) {
            let carried = names.uris.join(", ");
            return Err(wrong(format!(
                "{it} carries the application URI {carried:?}, and the server says that it is {application_uri:?}"
            )));
        }
        if !is_pinned && !names.hosts.iter().any(|name| name.eq_ignore_ascii_case(host)) {
            let named = names.hosts.join(", ");
            return Err(wrong(format!(
                "{it} is for {named}, and not for {host:?}: dial one of these names, or pin it with \
                 server_thumbprints = [\"{thumbprint}\"]"
            )));
        }
        Ok(())
    }

    fn is_trusted(&self, der: &[u8]) -> bool {
        let Ok(entries) = fs::read_dir(self.folder.join("trusted")) else { return false };
        entries.take(TRUSTED_MAX).flatten().any(|entry| {
            let path = entry.path();
            let is_short = entry.metadata().is_ok_and(|meta| meta.len() <= CERTIFICATE_BYTES_MAX);
            is_short
                && CertificateStore::read_cert(&path)
                    .is_ok_and(|found| found.as_byte_string().as_ref() == der)
        })
    }

    /// Keeps the certificate for a person to judge, and says what to do.
    fn reject(&self, der: &[u8], certificate: &X509, thumbprint: &str) -> Fault {
        let name = certificate.common_name().unwrap_or_default();
        let plain: String =
            name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).take(40).collect();
        let file = format!("{plain}[{thumbprint}].der");
        let path = self.file("rejected", &file);
        let is_full = || {
            fs::read_dir(self.folder.join("rejected")).is_ok_and(|entries| entries.count() >= REJECTED_MAX)
        };
        let kept = if path.exists() {
            Ok(())
        } else if is_full() {
            Err(format!("{} is full: empty it", self.folder.join("rejected").display()))
        } else {
            self.folders().and_then(|()| write_new(&path, der, 0o644)).map_err(|error| error.to_string())
        };
        let what = format!("the server's certificate is not trusted ({name}, thumbprint {thumbprint})");
        wrong(match kept {
            Ok(()) => format!(
                "{what}: to trust it, move {} to {}, or pin it with server_thumbprints = [\"{thumbprint}\"]",
                path.display(),
                self.folder.join("trusted").display()
            ),
            Err(why) => format!("{what}, and could not be kept for you to look at: {why}"),
        })
    }
}

/// A whole file or none: what a power cut leaves behind is under another name. The next file is written only when this one
/// has its name for good.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let part = path.with_extension("part");
    // What an earlier attempt left may have another mode, which writing into it would keep.
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// The alternative names of a certificate; `None` if they cannot be read.
fn names(der: &[u8]) -> Option<Names> {
    let certificate = Certificate::from_der(der).ok()?;
    let mut names = Names::default();
    let Some((_, alternatives)) = certificate.tbs_certificate.get::<SubjectAltName>().ok()? else {
        return Some(names);
    };
    for name in alternatives.0 {
        match name {
            GeneralName::UniformResourceIdentifier(uri) => names.uris.push(uri.to_string()),
            GeneralName::DnsName(host) => names.hosts.push(host.to_string()),
            GeneralName::IpAddress(bytes) => {
                let bytes = bytes.as_bytes();
                let v4 = <[u8; 4]>::try_from(bytes).map(|b| std::net::IpAddr::from(b).to_string());
                let v6 = || <[u8; 16]>::try_from(bytes).map(|b| std::net::IpAddr::from(b).to_string());
                names.hosts.extend(v4.or_else(|_| v6()).ok());
            }
            _ => {}
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Barrier;

    use super::*;

    fn pki(folder: &tempfile::TempDir) -> Pki {
        Pki {
            folder: folder.path().join("pki"),
            thumbprints: Vec::new(),
            application_uri: "urn:test:gateway".to_owned(),
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// A power cut came between the key and the certificate of the very first secured start. Ever after the gateway said
    /// that there is a key and no certificate, until a person came to the cabinet.
    #[test]
    fn a_key_without_a_certificate_gets_one() {
        let folder = tempfile::tempdir().unwrap();
        let pki = pki(&folder);
        pki.own().unwrap();
        let (certificate, key) = (pki.file("own", "cert.der"), pki.file("private", "private.pem"));
        let before = fs::read(&key).unwrap();
        fs::remove_file(&certificate).unwrap();
        // What the cut may leave of the certificate is no certificate.
        fs::write(pki.file("own", "cert.part"), "half of").unwrap();
        let own = pki.own().unwrap();
        assert_eq!(fs::read(&key).unwrap(), before, "the key is the same");
        assert_eq!(own.application_uri, "urn:test:gateway");
        let mut signature = [0; KEY_BITS as usize / 8];
        own.key.sign_sha256(b"this", &mut signature).unwrap();
        assert!(own.certificate.public_key().unwrap().verify_sha256(b"this", &signature).unwrap());
        assert_eq!((mode(&key), mode(&certificate)), (0o600, 0o644));
        assert_eq!(pki.own().unwrap().der, own.der, "it is made once");
    }

    /// Half a key at first, that everybody may read: the new one is not written into it.
    #[test]
    fn what_was_left_of_a_key_does_not_open_the_next_one_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let pki = pki(&folder);
        fs::create_dir_all(folder.path().join("pki/private")).unwrap();
        let part = pki.file("private", "private.part");
        fs::write(&part, "half of").unwrap();
        fs::set_permissions(&part, fs::Permissions::from_mode(0o666)).unwrap();
        pki.own().unwrap();
        assert_eq!(mode(&pki.file("private", "private.pem")), 0o600);
    }

    /// Somebody put the certificate there that a server trusts, and forgot its key; or put something there that is no key.
    #[test]
    fn what_a_person_must_have_done_is_left_alone_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let pki = pki(&folder);
        pki.own().unwrap();
        let (certificate, key) = (pki.file("own", "cert.der"), pki.file("private", "private.pem"));
        let before = fs::read(&certificate).unwrap();
        fs::remove_file(&key).unwrap();
        let Err(why) = pki.own() else { panic!("a certificate without its key") };
        assert!(
            why.detail.contains(&*key.to_string_lossy()) && why.detail.contains("remove"),
            "{}",
            why.detail
        );
        assert_eq!((fs::read(&certificate).unwrap(), key.exists()), (before, false));

        fs::remove_file(&certificate).unwrap();
        fs::write(&key, "not a key").unwrap();
        let Err(why) = pki.own() else { panic!("that is no key") };
        assert!(why.detail.contains(&*key.to_string_lossy()) && why.detail.contains("PEM"), "{}", why.detail);
        assert_eq!((fs::read(&key).unwrap(), certificate.exists()), (b"not a key".to_vec(), false));
    }

    /// A gateway with several secured servers met them all at its first start: each connection made a key and a certificate
    /// in the one folder, and the key of one stayed with the certificate of another, for good.
    #[test]
    fn devices_that_share_a_folder_make_one_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let pki = pki(&folder);
        let start = Barrier::new(4);
        let made: Vec<(ByteString, Vec<u8>)> = std::thread::scope(|scope| {
            let device = || {
                start.wait();
                let own = pki.own().unwrap();
                (own.der, fs::read(pki.file("private", "private.pem")).unwrap())
            };
            let all: Vec<_> = (0..4).map(|_| scope.spawn(device)).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().all(|one| *one == made[0]), "one certificate and one key for all of them");
    }
}

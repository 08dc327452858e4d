//! Key files on a real file system: modes, names, and that nothing is overwritten.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use common::{Draws, SCHEMES};
use selvedge_core::Scheme;
use selvedge_crypto::keyfile::{self, KeyFileError, KeyTextError};
use selvedge_crypto::secret_file::{self, SecretFileError};
use selvedge_crypto::{SecretKey, open_with_passphrase, seal_with_passphrase};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_key_file_is_for_its_owner_only_and_comes_back() {
    let mut draws = Draws::new(0x5EED_0007_0000_0000);
    let folder = folder();
    for scheme in SCHEMES {
        for passphrase in [None, Some("a passphrase")] {
            let path = folder.path().join(format!("{}{}", scheme.name(), passphrase.is_some()));
            let secret = draws.secret(scheme);
            keyfile::create(&path, &secret, passphrase).unwrap();
            assert_eq!(mode(&path), 0o600);
            let loaded = keyfile::load(&path, passphrase).unwrap();
            assert_eq!((loaded.scheme(), loaded.seed()), (scheme, secret.seed()));
        }
    }
}

#[test]
fn a_file_that_others_can_use_is_refused_with_its_mode_and_the_remedy() {
    let folder = folder();
    let path = folder.path().join("node.key");
    keyfile::create(&path, &SecretKey::generate(Scheme::MlDsa44).unwrap(), None).unwrap();
    for foreign in [0o640, 0o604, 0o644, 0o620, 0o602, 0o610, 0o601, 0o666, 0o777] {
        fs::set_permissions(&path, Permissions::from_mode(foreign)).unwrap();
        let message = keyfile::load(&path, None).unwrap_err().to_string();
        assert!(message.contains(&format!("mode is {foreign:04o}, expected 0600")), "{message}");
        assert!(message.contains(&format!("chmod 600 '{}'", path.display())), "{message}");
    }
    for own in [0o600, 0o400] {
        fs::set_permissions(&path, Permissions::from_mode(own)).unwrap();
        keyfile::load(&path, None).unwrap();
    }
    // A link does not hide the mode of what it leads to.
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(matches!(
        keyfile::load(&link, None),
        Err(KeyFileError::File(SecretFileError::Mode { mode: 0o644, .. }))
    ));
}

#[test]
fn nothing_is_overwritten() {
    let folder = folder();
    let path = folder.path().join("node.key");
    let secret = SecretKey::generate(Scheme::MlDsa44).unwrap();
    keyfile::create(&path, &secret, None).unwrap();
    let before = fs::read(&path).unwrap();
    let error = keyfile::create(&path, &SecretKey::generate(Scheme::MlDsa44).unwrap(), None).unwrap_err();
    assert!(matches!(error, KeyFileError::File(SecretFileError::Exists { .. })), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
    // Not through a link either, even one that leads nowhere yet.
    let link = folder.path().join("link");
    symlink(folder.path().join("elsewhere"), &link).unwrap();
    secret_file::create(&link, b"secret").unwrap_err();
    assert!(!folder.path().join("elsewhere").exists());
}

#[test]
fn a_truncated_file_and_other_things_are_refused() {
    let folder = folder();
    let path = folder.path().join("node.key");
    keyfile::create(&path, &SecretKey::generate(Scheme::MlDsa65).unwrap(), None).unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = keyfile::load(&path, None).unwrap_err();
    assert!(matches!(error, KeyFileError::Content { why: KeyTextError::Damaged(_), .. }), "{error}");
    assert!(error.to_string().contains("node.key"), "{error}");

    fs::write(&path, vec![b'x'; 1_000_000]).unwrap();
    let error = keyfile::load(&path, None).unwrap_err();
    assert!(matches!(error, KeyFileError::File(SecretFileError::TooLong { .. })), "{error}");

    let error = keyfile::load(folder.path(), None).unwrap_err();
    assert!(matches!(error, KeyFileError::File(SecretFileError::NotAFile { .. })), "{error}");

    let error = keyfile::load(&folder.path().join("absent"), None).unwrap_err();
    assert!(matches!(error, KeyFileError::File(SecretFileError::Io { .. })), "{error}");

    let error = keyfile::create(&folder.path().join("no/such/folder"), &draw(), None).unwrap_err();
    assert!(matches!(error, KeyFileError::File(SecretFileError::Io { .. })), "{error}");
}

fn draw() -> SecretKey {
    SecretKey::generate(Scheme::MlDsa44).unwrap()
}

#[test]
fn a_file_of_exactly_the_limit_is_read_and_one_more_byte_is_not() {
    let folder = folder();
    for (length, taken) in [(0, true), (99, true), (100, true), (101, false)] {
        let path = folder.path().join(length.to_string());
        secret_file::create(&path, &vec![1; length]).unwrap();
        let read = secret_file::read(&path, 100);
        assert_eq!(read.is_ok(), taken, "{length} bytes");
        if let Ok(bytes) = read {
            assert_eq!(bytes.len(), length);
        }
    }
}

#[test]
fn a_bundle_can_be_sealed_and_kept() {
    let folder = folder();
    let path = folder.path().join("backup");
    let bundle = Draws::new(0x5EED_0008_0000_0000).bytes(100_000);
    secret_file::create(&path, &seal_with_passphrase(&bundle, "a passphrase").unwrap()).unwrap();
    let sealed = secret_file::read(&path, 200_000).unwrap();
    assert_eq!(open_with_passphrase(&sealed, "a passphrase").unwrap().as_slice(), bundle);
}
